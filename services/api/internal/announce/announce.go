// Package announce tells the bus how far feeds have come.
package announce

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

const (
	// recheck is how long the bus is believed to know a head that it knew, remembered for that many feeds.
	recheck    = 5 * time.Second
	remembered = 4096
	queued     = 1024
)

// Announcer publishes heads: those of writes at once, those that reads found where the bus doesn't know them. It is safe
// for concurrent use.
type Announcer struct {
	// static
	bus     bus.Bus
	rewound func(context.Context) (bool, error) // nil: it can't be
	timeout time.Duration
	logger  *slog.Logger
	ctx     context.Context // ends with Close
	end     context.CancelFunc
	found   chan found
	// unsignalled counts the writes since the bus last took one.
	unsignalled atomic.Int64
	running     sync.WaitGroup

	known map[feed.Name]known // owned by the heal goroutine
}

type found struct {
	name feed.Name
	head feed.Cursor
}

type known struct {
	head feed.Cursor
	at   time.Time
}

// New makes an Announcer of st's heads whose calls to the bus take at most timeout. Close ends it.
func New(b bus.Bus, st any, timeout time.Duration, logger *slog.Logger) *Announcer {
	a := &Announcer{
		bus: b, timeout: timeout, logger: logger,
		found: make(chan found, queued),
		known: make(map[feed.Name]known),
	}
	if r, ok := st.(store.Rewindable); ok {
		a.rewound = func(ctx context.Context) (bool, error) {
			found, err := r.Rewound(ctx)
			return found.ID != "", err
		}
	}
	a.ctx, a.end = context.WithCancel(context.Background())
	a.running.Add(1)
	go a.heal()
	return a
}

// Committed publishes the head of a write. It goes on when ctx is cancelled, for the timeout at most, and a failure is
// logged only: the write is done, and the sweeper will signal it.
func (a *Announcer) Committed(ctx context.Context, name feed.Name, head feed.Cursor) {
	beforePublish()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
	defer cancel()
	if err := a.publish(ctx, name, head); err != nil {
		if a.unsignalled.Add(1) == 1 { // once per spell: without the bus, every write is one
			a.logger.Warn("a write could not be signalled; the sweeper will do it", "feed", name, "cursor", head.String(), "error", err)
		}
		return
	}
	if a.unsignalled.Load() > 0 {
		if n := a.unsignalled.Swap(0); n > 0 {
			a.logger.Info("writes are signalled again", "unsignalled", n)
		}
	}
}

// publish has the signal carry the trace, if there is one.
func (a *Announcer) publish(ctx context.Context, name feed.Name, head feed.Cursor) error {
	ctx, span := tracing.Start(ctx, "publish")
	if text := tracing.Text(ctx); text != "" {
		ctx = bus.WithTrace(ctx, text)
	}
	err := a.bus.Publish(ctx, name, head)
	tracing.End(span, err)
	return err
}

// Found says that the store has told this head. Where the bus doesn't know of it, it is published: soon, by someone else.
// Found doesn't block; when there is too much to do it does nothing.
func (a *Announcer) Found(name feed.Name, head feed.Cursor) {
	select {
	case a.found <- found{name, head}:
	default:
	}
}

// Close ends the healing. Closing twice is fine; Committed still works.
func (a *Announcer) Close() {
	a.end()
	a.running.Wait()
}

func (a *Announcer) heal() {
	defer a.running.Done()
	for {
		select {
		case <-a.ctx.Done():
			return
		case f := <-a.found:
			if err := a.check(f); err != nil && a.ctx.Err() == nil {
				a.logger.Warn("a head that the bus doesn't know could not be published", "feed", f.name, "error", err)
			}
		}
	}
}

func (a *Announcer) check(f found) (err error) {
	defer func() {
		if p := recover(); p != nil { // it would take the process down
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	now := time.Now()
	if k, ok := a.known[f.name]; ok && k.head.Covers(f.head) && now.Sub(k.at) < recheck {
		return nil
	}
	if !a.bus.Alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.timeout)
	defer cancel()
	heads, err := a.bus.Heads(ctx, []feed.Name{f.name}, 0)
	if err != nil {
		return err
	}
	if !heads[0].Covers(f.head) {
		// A store that has been rewound tells heads that may lack commits. The worker goes by what the bus knows: a feed that
		// it doesn't know gets a new epoch, one whose head it were told from here would not.
		if a.rewound != nil {
			if rewound, err := a.rewound(ctx); rewound || err != nil {
				return err
			}
		}
		if err := a.bus.Publish(ctx, f.name, f.head); err != nil {
			return err
		}
	}
	if len(a.known) >= remembered {
		clear(a.known)
	}
	a.known[f.name] = known{f.head, now}
	return nil
}
