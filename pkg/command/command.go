// Package command makes commands of services: configuration from file, environment and flags, a log, signals, an exit
// code.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/config"
)

// stopWithin is how long a process may take to stop, beyond the waits that it was configured with.
const stopWithin = 15 * time.Second

// Process is a service that runs. Start returns once it serves; Failed tells of parts that ended by themselves.
type Process interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Failed() <-chan error
	URL() string
}

// Service says what a command runs.
type Service struct {
	Name, Short, Long string
	// Adjust changes the configuration before it is checked; may be nil.
	Adjust func(*config.Config)
	// Database and Redis tell what the service can't do without.
	Database, Redis bool
	// Data: it keeps a folder of its own.
	Data bool
	// New makes the process of a valid configuration.
	New func(config.Config, *slog.Logger) (Process, error)
	// Greet says on standard output that it runs; nil: one line with its address.
	Greet func(w io.Writer, c config.Config, url string)
}

// UsageError says that a command was called or configured wrongly.
type UsageError struct{ error }

func (e *UsageError) Unwrap() error { return e.error }

// Usage makes a UsageError.
func Usage(err error) error { return &UsageError{err} }

// New makes the service's command.
func New(s Service) *cobra.Command {
	cmd := &cobra.Command{
		Use: s.Name, Short: s.Short, Long: s.Long, Args: cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
	}
	load := Flags(cmd, s.Data)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if s.Adjust != nil {
			s.Adjust(&c)
		}
		if err := errors.Join(err, c.Validate(), c.Need(s.Database, s.Redis)); err != nil {
			return Usage(err)
		}
		return run(cmd, s, c)
	}
	return cmd
}

// Flags adds the flags of the configuration, and gives what loads it once they are parsed, as config.Load does.
func Flags(cmd *cobra.Command, data bool) (load func() (config.Config, error)) {
	d := config.Defaults()
	file := cmd.Flags().String("config", "", "a YAML file")
	set := map[string]func(*config.Config, string){
		"listen":          func(c *config.Config, v string) { c.Listen = v },
		"internal-listen": func(c *config.Config, v string) { c.InternalListen = v },
	}
	cmd.Flags().String("listen", d.Listen, "the address to serve on (DOORBELL_LISTEN)")
	cmd.Flags().String("internal-listen", "", "the address of metrics and profiles (DOORBELL_INTERNAL_LISTEN)")
	if data {
		cmd.Flags().String("data", d.Data, "the folder of the database (DOORBELL_DATA)")
		set["data"] = func(c *config.Config, v string) { c.Data = v }
	} else {
		// No defaults here: help would print the passwords of whoever has them in the environment.
		cmd.Flags().String("database-url", "", "Postgres (DOORBELL_DATABASE_URL)")
		cmd.Flags().String("redis-url", "", "Redis (DOORBELL_REDIS_URL)")
		set["database-url"] = func(c *config.Config, v string) { c.DatabaseURL = v }
		set["redis-url"] = func(c *config.Config, v string) { c.RedisURL = v }
	}
	return func() (config.Config, error) {
		c, err := config.Load(*file, os.Environ())
		for name, to := range set {
			if flag := cmd.Flags().Lookup(name); flag.Changed {
				to(&c, flag.Value.String())
			}
		}
		return c, err
	}
}

func run(cmd *cobra.Command, s Service, c config.Config) error {
	ctx := cmd.Context()
	p, err := s.New(c, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	if s.Greet != nil {
		s.Greet(cmd.OutOrStdout(), c, p.URL())
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "Doorbell %s is running: %s\n", s.Name, p.URL())
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-p.Failed():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin+c.DrainWait+c.Gateway.DrainWindow)
	defer cancel()
	return errors.Join(failed, p.Stop(stop))
}

// Main runs a command with the process's arguments and streams until it is done or SIGINT or SIGTERM comes (a second one
// ends the process at once), and gives the exit code: 0 done, also when it was asked to stop; 1 it failed; 2 it was
// called wrongly.
func Main(cmd *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on signals do what they do by default
	return Run(ctx, cmd)
}

// Run is Main with a context instead of signals. The command's streams are used.
func Run(ctx context.Context, cmd *cobra.Command) int {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Usage(err) })
	err := cmd.ExecuteContext(ctx)
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(cmd.ErrOrStderr(), "doorbell: %s\nRun %q to see what there is.\n", text(err), cmd.Root().Name()+" --help")
		return 2
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "doorbell: %s\n", text(err))
	return 1
}

func text(err error) string {
	text := strings.TrimPrefix(err.Error(), "doorbell: ")
	if errors.Is(err, syscall.EADDRINUSE) {
		text += "; choose another address with --listen or --internal-listen"
	}
	return text
}
