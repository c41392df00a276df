// Package admission bounds how much the database has to do at once: so many calls, some more that wait for a moment, and
// the rest is refused at once. A queue without end would make everybody wait until nobody is there any more to be answered.
package admission

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// ErrBusy says that the call was refused, and nothing done: the database has enough to do.
var ErrBusy = errors.New("the database has enough to do")

const (
	// queueFactor is how many calls may wait for each that is under way, patience for how long.
	queueFactor = 8
	patience    = time.Second
)

// Gate is the bound, for all stores that it guards. It is safe for concurrent use.
type Gate struct {
	slots    chan struct{}
	waiting  atomic.Int64
	refused  atomic.Int64
	observed func(op string, took time.Duration)
}

// New makes a Gate for so many calls at once. observed is told of each call that was let in and how long it took; nil: nobody.
func New(calls int, observed func(op string, took time.Duration)) *Gate {
	if observed == nil {
		observed = func(string, time.Duration) {}
	}
	return &Gate{slots: make(chan struct{}, calls), observed: observed}
}

// Load is how long the queue is, as a share of how long it may be: 0 to 1.
func (g *Gate) Load() float64 {
	return min(float64(g.waiting.Load())/float64(cap(g.slots)*queueFactor), 1)
}

// Busy is how many calls are under way.
func (g *Gate) Busy() int { return len(g.slots) }

// Waiting is how many calls wait to be under way.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }

// Refused is how many calls were refused so far.
func (g *Gate) Refused() int64 { return g.refused.Load() }

// enter waits for a place. The result gives it back.
func (g *Gate) enter(ctx context.Context, op string) (leave func(), err error) {
	select {
	case g.slots <- struct{}{}:
	default:
		if err := g.queue(ctx); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	return func() {
		<-g.slots
		g.observed(op, time.Since(begin))
	}, nil
}

func (g *Gate) queue(ctx context.Context) error {
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > int64(cap(g.slots)*queueFactor) {
		g.refused.Add(1)
		return ErrBusy
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-timer.C:
		g.refused.Add(1)
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reader is st behind the gate.
func (g *Gate) Reader(st store.Reader) store.Reader { return &reader{g, st} }

// Writer is st behind the gate.
func (g *Gate) Writer(st store.Writer) store.Writer { return &writer{g, st} }

type reader struct {
	gate *Gate
	st   store.Reader
}

func (r *reader) Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error) {
	leave, err := r.gate.enter(ctx, "delta")
	if err != nil {
		return feed.Delta{}, err
	}
	defer leave()
	return r.st.Delta(ctx, name, q)
}

func (r *reader) Item(ctx context.Context, name feed.Name, key string) (feed.Item, error) {
	leave, err := r.gate.enter(ctx, "item")
	if err != nil {
		return feed.Item{}, err
	}
	defer leave()
	return r.st.Item(ctx, name, key)
}

func (r *reader) Heads(ctx context.Context, names []feed.Name) ([]feed.Cursor, error) {
	leave, err := r.gate.enter(ctx, "heads")
	if err != nil {
		return nil, err
	}
	defer leave()
	return r.st.Heads(ctx, names)
}

type writer struct {
	gate *Gate
	st   store.Writer
}

func (w *writer) Append(ctx context.Context, name feed.Name, wr store.Write) (store.Written, error) {
	leave, err := w.gate.enter(ctx, "append")
	if err != nil {
		return store.Written{}, err
	}
	defer leave()
	return w.st.Append(ctx, name, wr)
}

func (w *writer) Drop(ctx context.Context, name feed.Name, ifHead *feed.Cursor, once *store.Once) (feed.Cursor, error) {
	leave, err := w.gate.enter(ctx, "drop")
	if err != nil {
		return feed.Cursor{}, err
	}
	defer leave()
	return w.st.Drop(ctx, name, ifHead, once)
}
