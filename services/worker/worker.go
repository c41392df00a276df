// Package worker is what runs behind Doorbell's scenes.
//
//	answerer   the bus asks for heads that it doesn't know ─▶ Store.Heads ─▶ Bus.Publish
//	rewind     a database that lacks commits takes no writes ─▶ Store.Renew of the feeds concerned ─▶ Store.Resume
//	sweep      every second ─▶ Store.Changed since the last time ─▶ Bus.Publish where the bus is behind
//	retention  every minute ─▶ Store.Purge of each policy's old tombstones, Store.Forget of old outcomes
//	walk       all feeds, slowly, for ever ─▶ Bus.Publish of each head: heals what was lost between commit and publish
//
// None of it decides anything: heads only move forward and purging twice is purging once, so any number of workers
// may run side by side.
package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Truth is what the worker needs of a [store.Store].
type Truth interface {
	Heads(ctx context.Context, names []feed.Name) ([]feed.Cursor, error)
	Feeds(ctx context.Context, after feed.Name, limit int) ([]store.Listed, error)
	Purge(ctx context.Context, scope feed.Scope, before time.Time) (int64, error)
	Forget(ctx context.Context, before time.Time) (int64, error)
}

// Signals is what the worker needs of a [bus.Bus].
type Signals interface {
	Publish(ctx context.Context, name feed.Name, c feed.Cursor) error
	Heads(ctx context.Context, names []feed.Name, wait time.Duration) ([]bus.Head, error)
	Answer(a bus.Answerer) (stop func())
}

var (
	_ Truth   = store.Store(nil)
	_ Signals = bus.Bus(nil)
)

// Options say what a worker works on. Store, Bus and Policies are needed, the rest has defaults.
type Options struct {
	Store    Truth
	Bus      Signals
	Policies *policy.Set
	// Logger gets every error. nil: slog.Default().
	Logger *slog.Logger
	// PurgeEvery is the time from one round of retention to the next, give or take a tenth. 0: 1 minute.
	PurgeEvery time.Duration
	// WalkEvery is about how long a walk over all feeds takes; with so many feeds that this would be more than
	// 10,000 of them a second, it takes longer. 0: 1 minute.
	WalkEvery time.Duration
	// SweepEvery is the time from one sweep to the next, give or take a tenth, if the store is a [store.Sweepable]. 0: 1 s.
	SweepEvery time.Duration
}

// Worker is made by New.
type Worker struct {
	// static
	store      Truth
	bus        Signals
	policies   *policy.Set
	log        *slog.Logger
	purgeEvery time.Duration
	walkEvery  time.Duration
	sweepEvery time.Duration
}

// New makes a worker, which does nothing until Run.
func New(opts Options) *Worker {
	w := &Worker{
		store: opts.Store, bus: opts.Bus, policies: opts.Policies,
		log: opts.Logger, purgeEvery: opts.PurgeEvery, walkEvery: opts.WalkEvery, sweepEvery: opts.SweepEvery,
	}
	if w.log == nil {
		w.log = slog.Default()
	}
	if w.purgeEvery <= 0 {
		w.purgeEvery = time.Minute
	}
	if w.walkEvery <= 0 {
		w.walkEvery = time.Minute
	}
	if w.sweepEvery <= 0 {
		w.sweepEvery = time.Second
	}
	return w
}

// Run works until ctx ends, and leaves nothing running. Errors of the store and the bus are logged and retried; the
// result is always nil.
func (w *Worker) Run(ctx context.Context) error {
	defer w.bus.Answer(w.answer)()
	var jobs sync.WaitGroup
	// Workers that start together should not purge together.
	jobs.Go(func() { w.repeat(ctx, "retention", lastRetry, spread(w.purgeEvery), w.purge) })
	jobs.Go(func() { w.repeat(ctx, "walk", lastRetry, 0, (&walk{Worker: w}).step) })
	if sweepable, ok := w.store.(store.Sweepable); ok {
		s := &sweep{Worker: w, sweepable: sweepable}
		s.memory, _ = w.bus.(bus.Memory)
		if rewindable, ok := w.store.(store.Rewindable); ok {
			s.rewind = &rewind{Worker: w, rewindable: rewindable, memory: s.memory}
		}
		jobs.Go(func() { w.repeat(ctx, "sweep", w.sweepEvery, 0, s.step) })
	}
	jobs.Wait()
	return nil
}
