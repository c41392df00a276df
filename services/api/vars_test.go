package api_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

var (
	farFuture      = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	errUnavailable = store.ErrUnavailable
)

// counting counts calls of the store.
func counting(n *atomic.Int64) func(context.Context, string) error {
	return func(context.Context, string) error {
		n.Add(1)
		return nil
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
