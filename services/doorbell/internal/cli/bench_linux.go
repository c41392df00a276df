package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/baseline"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/herd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/reads"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/signals"
)

func newBench() *cobra.Command {
	group := newGroup("bench", "Measure Doorbell on this machine, at full size")
	group.Long = "Starts servers of its own (this binary, Postgres, Redis, nginx) on loopback, and measures them from outside.\n" +
		"See docs/benchmarks.md."
	group.AddCommand(newBenchSignals(), newBenchReads(), newBenchHerd(), &cobra.Command{
		Use: fleet.Command, Short: "Be the clients of a bench", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return crowd.Run(cmd.InOrStdin(), cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: baseline.Command, Short: "Be the bare server of a bench", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return baseline.Run(cmd.InOrStdin()) },
	})
	return group
}

func newBenchSignals() *cobra.Command {
	o := signals.Defaults()
	var file string
	cmd := &cobra.Command{
		Use: "signals", Short: "Measure the gateway, and nchan with the same work beside it", Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Only, "only", nil, "the scenarios to run; all are:\n"+wrapped(signals.Names()))
	flags.StringSliceVar(&o.Against, "against", o.Against, "what to measure")
	flags.IntVar(&o.Conns, "conns", o.Conns, "connections per gateway process; the figures of some scenarios are a part of it")
	flags.IntSliceVar(&o.Workers, "nchan-workers", o.Workers, "the numbers of nginx processes to measure nchan with")
	flags.DurationVar(&o.Settle, "settle", o.Settle, "how long memory settles before it is read")
	flags.DurationVar(&o.Churn, "churn-for", o.Churn, "how long connections come and go")
	flags.StringVar(&file, "json", "", "a file for the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.Validate(); err != nil {
			return command.Usage(err)
		}
		r := signals.Heading(o)
		r.Heading(cmd.OutOrStdout())
		return saved(r, file, signals.Run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), r, o))
	}
	return cmd
}

func newBenchReads() *cobra.Command {
	o := reads.Defaults()
	var file string
	cmd := &cobra.Command{
		Use: "reads", Short: "Measure reads of the API, and a bare Gin beside it", Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Only, "only", nil, "the scenarios to run; all are:\n"+wrapped(reads.Names()))
	flags.DurationVar(&o.For, "for", o.For, "how long each round of requests takes")
	flags.IntVar(&o.Requests, "requests", o.Requests, "requests while queries at the database are counted")
	flags.IntVar(&o.Waiting, "waiting", o.Waiting, "long polls that wait at once")
	flags.StringVar(&file, "json", "", "a file for the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.Validate(); err != nil {
			return command.Usage(err)
		}
		r := reads.Heading()
		r.Heading(cmd.OutOrStdout())
		return saved(r, file, reads.Run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), r, o))
	}
	return cmd
}

func newBenchHerd() *cobra.Command {
	o := herd.Defaults()
	var file string
	cmd := &cobra.Command{
		Use: "herd", Short: "Measure a crowd that pulls on one signal, through caches, and clients that only poll", Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Only, "only", nil, "the scenarios to run; all are:\n"+wrapped(herd.Names()))
	flags.StringSliceVar(&o.Caches, "caches", o.Caches, `what stands in front, one after the other; "none" is nothing`)
	flags.IntVar(&o.Clients, "clients", o.Clients, "clients in a crowd")
	flags.IntVar(&o.Changes, "changes", o.Changes, "changes")
	flags.StringVar(&o.Deployments, "deployments", o.Deployments, "the folder with the caches' configurations")
	flags.StringVar(&o.Cache, "cache", "", "a cache of one's own, host:port, in the place of those")
	flags.StringVar(&o.OriginListen, "origin-listen", "", "where that cache finds its origin, host:port")
	flags.DurationVar(&o.SignalInterval, "signal-interval", 0, "the crowd's feed is signalled at most once in so long; 0: at each change")
	flags.DurationVar(&o.Rest, "rest-for", o.Rest, "how long clients that only poll are compared")
	flags.StringVar(&file, "json", "", "a file for the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.Validate(); err != nil {
			return command.Usage(err)
		}
		r := herd.Heading()
		r.Heading(cmd.OutOrStdout())
		return saved(r, file, herd.Run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), r, o))
	}
	return cmd
}

// saved writes the report to a file, if one is named, whatever came of the run.
func saved(r *report.Report, file string, err error) error {
	if file == "" {
		return err
	}
	return errors.Join(err, r.Save(file))
}

// wrapped lists names for a flag's help, a few to a line.
func wrapped(names []string) string {
	var text strings.Builder
	for i, name := range names {
		switch {
		case i == 0:
		case i%5 == 0:
			text.WriteString(",\n")
		default:
			text.WriteString(", ")
		}
		text.WriteString(name)
	}
	text.WriteString("\n")
	return text.String()
}
