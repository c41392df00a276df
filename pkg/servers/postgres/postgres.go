// Package postgres opens the store on the Postgres that the configuration names: the one place that says which of it
// counts. It is apart from what opens the bus, because gateways have nothing to do with databases.
package postgres

import (
	"context"
	"log/slog"

	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
)

// Open makes a store, which connects when it is first used. See [gormstore.OpenPostgres].
func Open(ctx context.Context, c config.Config, log *slog.Logger) (*gormstore.Postgres, error) {
	return gormstore.OpenPostgres(ctx, c.DatabaseURL, gormstore.Options{
		Replicas: c.DatabaseReplicaURLs, Logger: log,
		MaxConns: c.API.DatabaseCalls, // more would never be used, and fewer would make calls wait that were let in
	})
}
