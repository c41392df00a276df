package telemetry

import (
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
)

// complainEvery is how often it is logged that spans don't reach the collector.
const complainEvery = time.Minute

// complaints is what OpenTelemetry's exporters, which have one place for the errors of a process, complain to.
type complaints struct {
	// static
	log *slog.Logger
	now func() time.Time

	mu sync.Mutex
	// Guarded by mu.
	last   time.Time // when one was logged
	silent int       // how many were not since
}

// complain has the log of the process that was opened last told.
func complain(log *slog.Logger) {
	otel.SetErrorHandler(&complaints{log: log, now: time.Now})
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !c.last.IsZero() && now.Sub(c.last) < complainEvery {
		c.silent++
		return
	}
	c.log.Warn("traces don't reach their collector; spans are lost", "error", err, "more", c.silent)
	c.last, c.silent = now, 0
}
