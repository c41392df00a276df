// Package redis opens the bus on the Redis that the configuration names: the one place that says which of it counts.
package redis

import (
	"context"
	"log/slog"

	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/config"
)

// Open makes a bus, which lives whether Redis answers yet or not. See [redisbus.New].
func Open(ctx context.Context, c config.Config, log *slog.Logger) (*redisbus.Bus, error) {
	return redisbus.New(ctx, redisbus.Options{URL: c.RedisURL, Interval: c.Policies().SignalInterval, Logger: log})
}
