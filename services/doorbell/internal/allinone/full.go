package allinone

import (
	"context"
	"log/slog"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
)

// Full makes a node on Postgres and Redis, of which there may be many. The configuration must be valid.
func Full(c config.Config, log *slog.Logger) *Node {
	n := newNode(c, log)
	n.Add(lifecycle.Opened("store", &n.store, n.openPostgres))
	n.Add(lifecycle.Opened("bus", &n.bus, n.openRedis))
	n.addServices()
	n.Add(n.drain.Part())
	return n
}

func (n *Node) openPostgres(ctx context.Context) (store.Store, error) {
	return gormstore.OpenPostgres(ctx, n.config.DatabaseURL, gormstore.Options{Replicas: n.config.DatabaseReplicaURLs})
}

func (n *Node) openRedis(ctx context.Context) (bus.Bus, error) {
	return redisbus.New(ctx, redisbus.Options{
		URL: n.config.RedisURL, Interval: n.config.Policies().SignalInterval, Logger: n.log,
	})
}
