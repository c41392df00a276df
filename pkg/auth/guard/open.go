package guard

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/config"
)

// Open makes the Guard that a configuration asks for. metrics may be nil.
func Open(c config.Config, b bus.Bus, log *slog.Logger, metrics prometheus.Registerer) (*Guard, error) {
	tokens, err := c.Tokens.Options()
	if err != nil {
		return nil, err
	}
	return New(Options{Keys: c.Keys, Tokens: tokens, Callback: c.Authorization.Options(), Bus: b, Logger: log, Metrics: metrics})
}
