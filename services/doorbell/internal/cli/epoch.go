package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/servers/postgres"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/allinone"
)

func newEpoch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bump [FEED...]",
		Short: "Give feeds new epochs, so that clients forget what they have of them and load them anew",
		Long: "Gives feeds new epochs and prints their cursors. Clients forget what they have of such a feed and load it anew.\n\n" +
			"It is for a database that has been put back to an older state when Doorbell can't know it: files that were copied\n" +
			"over the same files. Works on Postgres (--database-url), where a worker signals the new epochs, or else on the data\n" +
			"folder of `doorbell dev`, which must not run.",
		Args: cobra.ArbitraryArgs,
	}
	load := command.Flags(cmd, false)
	data := cmd.Flags().String("data", "", "the folder of the embedded database (DOORBELL_DATA)")
	all := cmd.Flags().Bool("all", false, "all feeds")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := load()
		names, unclear := feedNames(args, *all)
		if err := errors.Join(err, c.Validate(), unclear); err != nil {
			return command.Usage(err)
		}
		if *data != "" {
			c.Data, c.DatabaseURL = *data, ""
		}
		s, end, err := openToRenew(cmd.Context(), c, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		if err != nil {
			return err
		}
		return errors.Join(bump(cmd.Context(), cmd.OutOrStdout(), s, names), end())
	}
	return newGroup("epoch", "Have clients start over", cmd)
}

// feedNames are the feeds that are meant; nil: all.
func feedNames(args []string, all bool) ([]feed.Name, error) {
	switch {
	case all && len(args) > 0:
		return nil, errors.New("both --all and feeds are given; allowed: one of them")
	case !all && len(args) == 0:
		return nil, errors.New("which feeds? Name them, or say --all")
	}
	var names []feed.Name
	for _, arg := range args {
		name, err := feed.ParseName(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// renewable is what it takes to give feeds new epochs.
type renewable interface {
	store.Store
	store.Renewer
}

func openToRenew(ctx context.Context, c config.Config, log *slog.Logger) (s renewable, end func() error, err error) {
	if c.DatabaseURL != "" {
		p, err := postgres.Open(ctx, c, log)
		if err != nil {
			return nil, nil, err
		}
		return p, p.Close, nil
	}
	path := allinone.Database(c.Data)
	if _, err := os.Stat(path); err != nil { // opening would make one
		return nil, nil, err
	}
	lock, err := allinone.HoldFolder(c.Data)
	if err != nil {
		return nil, nil, err
	}
	lite, err := gormstore.OpenSQLite(ctx, path, gormstore.Options{Logger: log})
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	return lite, func() error { return errors.Join(lite.Close(), lock.Close()) }, nil
}

// bumpAtOnce is how many feeds get new epochs in one transaction.
const bumpAtOnce = 500

// bump gives the feeds, or all (nil), new epochs, and prints their cursors. A feed that gets one by somebody else meanwhile keeps that.
func bump(ctx context.Context, out io.Writer, s renewable, names []feed.Name) error {
	if names != nil {
		heads, err := s.Heads(ctx, names)
		if err != nil {
			return err
		}
		seen := make([]store.Listed, len(names))
		for i, head := range heads {
			if head.IsZero() {
				return fmt.Errorf("the feed %s doesn't exist; none has a new epoch", names[i])
			}
			seen[i] = store.Listed{Name: names[i], Head: head}
		}
		return renew(ctx, out, s, seen)
	}
	for after := feed.Name(""); ; {
		page, err := s.Feeds(ctx, after, bumpAtOnce)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := renew(ctx, out, s, page); err != nil {
			return err
		}
		after = page[len(page)-1].Name
	}
}

func renew(ctx context.Context, out io.Writer, s renewable, seen []store.Listed) error {
	heads, err := s.Renew(ctx, seen)
	if err != nil {
		return err
	}
	for _, l := range heads {
		if _, err := fmt.Fprintln(out, l.Name, l.Head); err != nil {
			return err
		}
	}
	return nil
}
