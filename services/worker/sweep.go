package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// publishing is how many heads are published side by side, so that a bus can send many in one round trip.
const publishing = 64

// sweep finds what was committed and not signalled: because the process died in between, or the bus was away, or has
// forgotten. It belongs to one goroutine.
//
//	the mark is not of this life of the bus ─▶ tell all heads since what it says (all there are, if nothing)
//	otherwise, once a second                ─▶ tell the heads that have changed since, where the bus is behind
type sweep struct {
	*Worker
	sweepable store.Sweepable
	memory    bus.Memory // nil: this bus never forgets
	rewind    *rewind    // nil: this store is never rewound
	// horizon: everything committed before it has been told. "": nothing has.
	horizon store.Horizon
	life    string // of the bus, that horizon holds for
}

func (s *sweep) step(ctx context.Context) (time.Duration, error) {
	if s.rewind != nil {
		if err := s.rewind.mend(ctx); err != nil { // before the bus is told anything, which it would vouch for
			return 0, err
		}
	}
	if s.memory == nil {
		return s.sweepEvery, s.advance(ctx)
	}
	mark, err := s.memory.Mark(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the bus's mark: %w", err)
	}
	switch {
	case !mark.Whole:
		s.log.WarnContext(ctx, "the bus has forgotten heads; telling them again", "since", since(mark.Text))
		s.horizon = store.Horizon(mark.Text)
	case s.life != mark.Life:
		// Somebody has told this life everything up to there.
		s.horizon = store.Horizon(mark.Text)
	}
	// Where the bus may have forgotten heads it is not asked which: it may be forgetting them still.
	if err := s.advanceFrom(ctx, !mark.Whole); err != nil {
		return 0, err
	}
	if err := s.memory.SetMark(ctx, mark.Life, string(s.horizon)); err != nil {
		s.life = ""
		return 0, fmt.Errorf("set the bus's mark: %w", err)
	}
	s.life = mark.Life
	return s.sweepEvery, nil
}

func since(text string) string {
	if text == "" {
		return "the beginning"
	}
	return text
}

func (s *sweep) advance(ctx context.Context) error { return s.advanceFrom(ctx, false) }

// advanceFrom tells what has changed since the horizon, and moves it on once all of that is told.
func (s *sweep) advanceFrom(ctx context.Context, forgotten bool) error {
	listed, next, err := s.sweepable.Changed(ctx, s.horizon)
	if errors.Is(err, store.ErrRewound) && s.rewind != nil {
		return s.rewind.suspend(ctx, s.horizon, err)
	}
	if errors.Is(err, store.ErrHorizon) { // another database, or this one restored
		s.log.WarnContext(ctx, "the database's history is another one; telling all heads again", "error", err)
		s.horizon = ""
		listed, next, err = s.sweepable.Changed(ctx, "")
	}
	if err != nil {
		return fmt.Errorf("look for changed feeds: %w", err)
	}
	switch {
	case s.horizon == "":
		err = s.tellAll(ctx) // what is committed meanwhile is in the next answer
	case forgotten:
		err = s.tellListed(ctx, listed)
	default:
		err = s.tellMissing(ctx, listed)
	}
	if err == nil {
		s.horizon = next
	}
	return err
}

// tellAll publishes the heads of all feeds, as fast as it goes.
func (s *sweep) tellAll(ctx context.Context) error {
	return s.eachPage(ctx, func(page []store.Listed) error { return s.tellListed(ctx, page) })
}

// eachPage lists all feeds, page by page, which are do's to change.
func (w *Worker) eachPage(ctx context.Context, do func([]store.Listed) error) error {
	for after := feed.Name(""); ; {
		page, err := w.store.Feeds(ctx, after, pageSize)
		if err != nil {
			return fmt.Errorf("list feeds after %q: %w", after, err)
		}
		last := len(page) < pageSize
		if !last {
			after = page[len(page)-1].Name
		}
		if err := do(page); err != nil || last {
			return err
		}
	}
}

// tellMissing publishes those heads that the bus is behind of. Mostly it is behind of none, and publishing an equal head
// would signal it once more. That is done for feeds with a signal interval alone, of which the bus may know the head while
// the process that owed the signal has died: whoever publishes owes it, too.
func (s *sweep) tellMissing(ctx context.Context, listed []store.Listed) error {
	if len(listed) == 0 {
		return nil
	}
	names := make([]feed.Name, len(listed))
	for i, l := range listed {
		names[i] = l.Name
	}
	heads, err := s.bus.Heads(ctx, names, 0)
	if err != nil {
		return fmt.Errorf("read the bus's heads: %w", err)
	}
	missing, behind := listed[:0], 0
	for i, l := range listed {
		lost := !heads[i].Covers(l.Head)
		if lost {
			behind++
		}
		if lost || s.policies.SignalInterval(l.Name) > 0 {
			missing = append(missing, l)
		}
	}
	if behind > 0 {
		s.log.InfoContext(ctx, "signalling what was committed and not signalled", "feeds", behind)
	}
	return s.tellListed(ctx, missing)
}

// tellListed publishes heads, many at a time.
func (w *Worker) tellListed(ctx context.Context, listed []store.Listed) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishing)
	for _, l := range listed {
		g.Go(func() error {
			if err := w.bus.Publish(ctx, l.Name, l.Head); err != nil {
				return fmt.Errorf("publish the head of %s: %w", l.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}
