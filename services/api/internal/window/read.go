package window

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

var (
	// ErrBehind says that the store has not come up to the floor within the time.
	ErrBehind = errors.New("the store is behind")
	// ErrFull says that as many are waiting as may.
	ErrFull = errors.New("too many are waiting already")
	// ErrClosed says that nobody waits here any more.
	ErrClosed = errors.New("no longer waiting")
)

// Source tells where an answer came from.
type Source uint8

// The sources.
const (
	Memory    Source = iota // no question was asked
	Coalesced               // somebody else's was waited for
	Database                // a question was asked for this
)

// Reading is what a read came to.
type Reading struct {
	Delta feed.Delta
	// View is at Delta.Head: answers may be kept with it. nil: there is none.
	View *View
	From Source
}

// Read answers q as the store would, at a head that meets the floor and covers whatever was committed here, or signalled,
// before Read was called; without the bus, whatever was committed anywhere; without the store, what lastLocked says. It waits for the
// floor: until it is signalled, or for Options.AtLeastWait and one last question.
//
// Errors: those of store.Reader's Delta, ErrBehind, ErrFull, ErrClosed, ctx's.
func (f *Feed) Read(ctx context.Context, q store.Query, floor Floor) (Reading, error) {
	f.mu.Lock()
	arrived, retired := f.begun, f.retired.Load()
	f.mu.Unlock()
	if retired {
		return f.w.Feed(f.name).Read(ctx, q, floor)
	}
	asked := f.w.asked.Load()
	var until time.Time
	if !floor.IsZero() {
		until = time.Now().Add(f.w.opts.AtLeastWait)
	}
	r, err := f.read(ctx, q, floor, arrived, asked)
	if met, told := meets(floor, r.Delta, err); met || !told {
		return r, err
	}
	p := f.w.NewPoll()
	defer p.Leave()
	if on := p.On(f, floor); on != f { // all that it has loaded was asked for since
		f, arrived = on, 0
	}
	if err := f.await(ctx, p, floor, until, arrived); err != nil {
		return Reading{}, err
	}
	r, err = f.read(ctx, q, floor, arrived, f.w.asked.Load())
	if met, told := meets(floor, r.Delta, err); !met && told {
		return Reading{}, ErrBehind
	}
	return r, err
}

// meets tells whether the database snapshot that the answer came from covers the floor, if the store has told.
func meets(floor Floor, d feed.Delta, err error) (met, told bool) {
	var reset *feed.ResetError
	switch {
	case err == nil:
		return floor.Met(d.Head), true
	case errors.As(err, &reset):
		return floor.Met(reset.Head), true
	case errors.Is(err, feed.ErrNoFeed):
		return floor.Met(feed.Cursor{}), true
	}
	return false, false
}

// read is Read without waiting for the floor: fills that began after arrived are news enough.
//
//nolint:gocognit // one loop under one lock; each part would have to say anew what it finds locked
func (f *Feed) read(ctx context.Context, q store.Query, floor Floor, arrived, asked uint64) (Reading, error) {
	r := Reading{}
	n := wantOf(q, floor)
	n.by = traced(ctx)
	joined := false
	lacking := false // what is news enough isn't all that is wanted, so what others have asked for doesn't do
	again := false   // the store was gone, and asked once more
	f.mu.Lock()
	for {
		if last, ok := f.lastLocked(q, floor); ok {
			f.mu.Unlock()
			return last, nil
		}
		if v := f.view; v != nil && (f.seen > arrived || f.Current() == v) {
			if f.seen > arrived || (floor.Met(v.Head) && !ahead(q, v)) {
				var err error
				if r.Delta, err = v.Delta(q); !errors.Is(err, errElsewhere) {
					f.mu.Unlock()
					r.Delta.Feed, r.View = f.name, v
					return r, err
				}
				if joined || ahead(q, v) || f.hopelessLocked(n) {
					f.mu.Unlock()
					return f.ask(ctx, q, floor, v, asked)
				}
				lacking = f.seen > arrived
			}
		}
		fl := f.filling
		if fl == nil || (fl.number <= arrived && !f.w.trusted()) || (joined && fl.number <= arrived) || lacking {
			if r.From = max(r.From, Coalesced); fl == nil {
				r.From = Database
			}
			fl, joined = f.fillLocked(n), true
		} else { // it may do for this, too
			r.From = max(r.From, Coalesced)
		}
		f.mu.Unlock()
		if fl == nil {
			return f.ask(ctx, q, floor, nil, asked)
		}
		select {
		case <-ctx.Done():
			return Reading{}, ctx.Err()
		case <-fl.done:
		}
		f.mu.Lock()
		if fl.err != nil && (fl.number > arrived || gone(fl.err)) {
			if gone(fl.err) && fl.told && !again { // somebody has written meanwhile, so it's worth another question
				again = true
				continue
			}
			last, ok := f.lastLocked(q, floor)
			f.mu.Unlock()
			if ok {
				return last, nil
			}
			return Reading{}, fl.err
		}
	}
}

// ahead tells whether the reader knows more than the view does.
func ahead(q store.Query, v *View) bool {
	if q.BareSeq {
		return q.Since.Seq > v.Head.Seq
	}
	return q.Since.Compare(v.Head) > 0 || q.Since.Base > v.Head.Seq
}

// ask puts the very question to the store: what the window can't hold, and resets. Equal ones that come together are one;
// an answer is shared with those alone that came before it was asked for, or that know of nothing newer.
func (f *Feed) ask(ctx context.Context, q store.Query, floor Floor, v *View, asked uint64) (Reading, error) {
	w := f.w
	if v != nil && w.trusted() && !floor.Bare && !ahead(q, v) { // what the view covers was told
		if q.Enough = v.Head; floor.Cursor.Compare(v.Head) > 0 {
			q.Enough = floor.Cursor
		}
	}
	key := fmt.Sprintf("%s %d %s %t %d %d %s", f.name, q.Since.Epoch, q.Since, q.BareSeq, q.Limit, q.MaxBytes, q.Enough)
	if q.BareSeq {
		key += fmt.Sprintf(" %d", q.Since.Seq)
	}
	for {
		flight := w.direct.DoChan(key, func() (any, error) { return w.delta(ctx, f.name, q), nil })
		var a directAnswer
		r := Reading{From: Database}
		select {
		case <-ctx.Done():
			return Reading{}, ctx.Err()
		case res := <-flight:
			a, _ = res.Val.(directAnswer)
			if res.Shared {
				r.From = Coalesced
			}
		}
		if a.number <= asked && !gone(a.err) && (v == nil || !w.trusted() || !a.delta.Head.Covers(v.Head) || !floor.Met(a.delta.Head)) {
			continue // it was asked before this one came
		}
		r.Delta = a.delta
		if a.err == nil {
			w.opts.Found(f.name, a.delta.Head)
			if v != nil && v.Head == a.delta.Head {
				r.View = v
			}
		}
		return r, a.err
	}
}

type directAnswer struct {
	delta  feed.Delta
	err    error
	number uint64
}

func (w *Windows) delta(by context.Context, name feed.Name, q store.Query) (a directAnswer) {
	defer func() {
		if p := recover(); p != nil { // here it would take the process down
			a.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	// Whoever came first may leave, and after Close reads still work.
	ctx, cancel := context.WithTimeout(tracing.Under(context.Background(), by), w.opts.ReadTimeout)
	defer cancel()
	a.number = w.asked.Add(1)
	a.delta, a.err = w.opts.Store.Delta(ctx, name, q)
	return a
}
