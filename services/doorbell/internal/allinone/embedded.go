package allinone

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/devkey"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/hostfeed"
)

// Embedded makes a node on SQLite and the in-process bus, which writes this machine's figures to a feed. Without keys and tokens
// in the configuration, which must be valid, everybody on this machine may write.
func Embedded(c config.Config, log *slog.Logger) *Node {
	c.Gateway.DrainWindow = 0 // there is no other node to go to
	n := newNode(c, log)
	n.openWrites = len(c.Keys) == 0 && !c.Tokens.Enabled()
	n.Add(lifecycle.Opened("data folder", new(*flock.Flock), n.openFolder))
	n.Add(lifecycle.Opened("store", &n.store, n.openSQLite))
	n.Add(lifecycle.Opened("bus", &n.bus, n.openMembus))
	n.Add(lifecycle.Part{Name: "secret of tokens", Start: n.ensureTokenKey})
	n.addServices()
	n.AddRun("host figures", func(ctx context.Context) error { return hostfeed.Run(ctx, n.URL(), n.hostKey, n.log) })
	return n
}

func (n *Node) openFolder(context.Context) (*flock.Flock, error) { return HoldFolder(n.config.Data) }

// HoldFolder makes the data folder and holds it for this process: a second one would not hear the first one's signals.
func HoldFolder(folder string) (*flock.Flock, error) {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(folder, "doorbell.lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !locked {
		return nil, fmt.Errorf("another doorbell uses %s; choose another folder with --data", folder)
	}
	return lock, nil
}

// Database is where the embedded mode's database is in its folder.
func Database(folder string) string { return filepath.Join(folder, "doorbell.db") }

// ensureTokenKey lets tokens for development be made on this machine, where no others are configured.
func (n *Node) ensureTokenKey(context.Context) error {
	if n.config.Tokens.Enabled() {
		return nil
	}
	key, err := devkey.Ensure(n.config.Data)
	n.devKeys = []config.TokenKey{key}
	return err
}

func (n *Node) openSQLite(ctx context.Context) (store.Store, error) {
	return gormstore.OpenSQLite(ctx, Database(n.config.Data), gormstore.Options{Logger: n.log})
}

func (n *Node) openMembus(context.Context) (bus.Bus, error) {
	return membus.New(membus.Options{Interval: n.config.Policies().SignalInterval}), nil
}
