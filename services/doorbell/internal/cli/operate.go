package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/hostfeed"
)

func newConfig() *cobra.Command {
	configured := func(cmd *cobra.Command, run func(*cobra.Command, config.Config, error) error) *cobra.Command {
		cmd.Args = cobra.NoArgs
		load := command.Flags(cmd, false)
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			c, err := load()
			return run(cmd, c, err)
		}
		return cmd
	}
	check := func(cmd *cobra.Command, c config.Config, unread error) error {
		if err := errors.Join(unread, c.Validate()); err != nil {
			return command.Usage(err)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "ok")
		return err
	}
	show := func(cmd *cobra.Command, c config.Config, unread error) error {
		if unread != nil {
			return command.Usage(unread)
		}
		return c.Print(cmd.OutOrStdout())
	}
	return newGroup("config", "Check and print the configuration",
		configured(&cobra.Command{Use: "check", Short: "Say what is wrong, all of it"}, check),
		configured(&cobra.Command{Use: "print", Short: "Print what holds, defaults included, without secrets"}, show),
	)
}

func newMigrate() *cobra.Command {
	migrating := func(use, short string, run func(context.Context, string) ([]gormstore.Migration, error)) *cobra.Command {
		cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		load := command.Flags(cmd, false)
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			c, err := load()
			if err := errors.Join(err, c.Validate(), c.Need(true, false)); err != nil {
				return command.Usage(err)
			}
			migrations, err := run(cmd.Context(), c.DatabaseURL)
			for _, m := range migrations {
				applied := "pending"
				if !m.Applied.IsZero() {
					applied = m.Applied.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%-40s %s\n", m.File, applied)
			}
			return err
		}
		return cmd
	}
	return newGroup("migrate", "Bring the database's schema up to date",
		migrating("up", "Apply what is missing; several at a time wait for each other", gormstore.Migrate),
		migrating("status", "List the migrations and which are applied", gormstore.MigrationStatus),
	)
}

func newHost() *cobra.Command {
	var r remote
	return r.command(&cobra.Command{
		Use:   "host",
		Short: "Write this machine's figures to the feed " + hostfeed.Feed + " once a second, as dev does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hostfeed.Run(cmd.Context(), r.url, r.secret(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	})
}
