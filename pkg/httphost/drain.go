package httphost

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
)

// Drain is the first thing that happens when a process is asked to stop: it isn't ready any more, and goes on serving for a
// while, so that balancers turn away before anything is refused.
type Drain struct {
	Wait  time.Duration
	begun atomic.Bool
}

// Begun tells whether the process has been asked to stop.
func (d *Drain) Begun() bool { return d.begun.Load() }

// Part is the wait in the process's lifecycle: the last one to be added.
func (d *Drain) Part() lifecycle.Part {
	return lifecycle.Part{Name: "drain", Stop: func(ctx context.Context) error {
		d.begun.Store(true)
		select {
		case <-time.After(d.Wait):
		case <-ctx.Done():
		}
		return nil
	}}
}
