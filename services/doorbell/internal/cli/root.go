// Package cli is the command line: one file per group of commands.
package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
	"github.com/doorbell-sync/doorbell/pkg/command"
)

// New makes the command `doorbell` with all that it can do. command.Main runs it.
func New() *cobra.Command {
	root := &cobra.Command{
		Use:   "doorbell",
		Short: "Rings when data changed; clients fetch it, and caches do the rest",
		Long: "Doorbell keeps feeds of items. It pushes tiny signals (\"feed F is now at cursor C\") over WebSocket, and serves\n" +
			"snapshots and deltas that caches can hold over HTTP.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDev(), newPut(), newDelete(), newTouch(), newGet(), newWatch(), newHost())
	root.AddCommand(newToken(), newRevoke(), newSessions(), newDisconnect(), newRebalance())
	root.AddCommand(newConfig(), newMigrate(), newEpoch(), newBench())
	root.AddCommand(newServices()...)
	checkArgs(root)
	return root
}

// newGroup makes a command that only has others below it. Called without any of them it prints its help, and with one that there
// isn't it says so, whatever flags come along.
func newGroup(use, short string, subs ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(subs...)
	return group
}

// checkArgs makes wrong arguments of cmd and the commands below it usage errors that show how it should be called.
func checkArgs(cmd *cobra.Command) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		return checked(check, cmd, args)
	}
	for _, sub := range cmd.Commands() {
		checkArgs(sub)
	}
}

func checked(check cobra.PositionalArgs, cmd *cobra.Command, args []string) error {
	if check == nil {
		return nil
	}
	if err := check(cmd, args); err != nil {
		if subs := names(cmd); subs != "" {
			return command.Usage(fmt.Errorf("%w; there are %s", err, subs))
		}
		return command.Usage(fmt.Errorf("%w; usage: %s", err, cmd.UseLine()))
	}
	return nil
}

// names are those of the commands below cmd that help shows.
func names(cmd *cobra.Command) string {
	var all []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			all = append(all, sub.Name())
		}
	}
	return strings.Join(all, ", ")
}

// remote is the server that the client commands talk to.
type remote struct {
	url string
	key string
}

// command completes one of the client commands: with the flags that all of them have, and with errors for people.
func (r *remote) command(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&r.url, "url", firstOf(os.Getenv("DOORBELL_URL"), "http://127.0.0.1:8080"), "where Doorbell is (DOORBELL_URL)")
	cmd.Flags().StringVar(&r.key, "key", "", "the API key, where one is needed (DOORBELL_KEY)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return explain(run(cmd, args)) }
	return cmd
}

// secret is the key. The environment is not the flag's default, because help would print it.
func (r *remote) secret() string { return firstOf(r.key, os.Getenv("DOORBELL_KEY")) }

func (r *remote) client() (*doorbell.Client, error) {
	var opts []doorbell.Option
	if key := r.secret(); key != "" {
		opts = append(opts, doorbell.WithKey(key))
	}
	client, err := doorbell.New(r.url, opts...)
	if err != nil {
		return nil, command.Usage(err)
	}
	return client, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// explain turns a server's problem into a line for people.
func explain(err error) error {
	if p, ok := errors.AsType[*doorbell.Problem](err); ok && p.Detail != "" {
		return fmt.Errorf("%s (%d %s)", printable(p.Detail), p.Status, printable(p.Code))
	}
	return err
}

// printable keeps a server's words from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
