package allinone

import (
	"context"
	"log/slog"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/servers/postgres"
	"github.com/doorbell-sync/doorbell/pkg/servers/redis"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Full makes a node on Postgres and Redis, of which there may be many. The configuration must be valid.
func Full(c config.Config, log *slog.Logger) *Node {
	n := newNode(c, log)
	n.Add(lifecycle.Opened("store", &n.store, n.openPostgres))
	n.Add(lifecycle.Opened("bus", &n.bus, n.openRedis))
	n.addServices()
	n.Add(n.drain.Part())
	n.Add(lifecycle.Part{Name: "long polls", Stop: func(context.Context) error { n.api.Drain(); return nil }})
	return n
}

func (n *Node) openPostgres(ctx context.Context) (store.Store, error) {
	return postgres.Open(ctx, n.config, n.log)
}

func (n *Node) openRedis(ctx context.Context) (bus.Bus, error) {
	return redis.Open(ctx, n.config, n.log)
}
