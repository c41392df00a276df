// Package atleast makes reads wait until the store has what they must not be older than (their floor).
//
// A signal may reach a client before its cause is visible to the instance that the client asks. So whoever finds the
// store behind its floor waits here: for the bus to say that the floor has been reached, and then for the store to say
// so too.
//
//	Wait ─▶ follow the feed ─▶ signal meets a floor ─▶ ask the store for its head ─▶ met: go on
//	                                              └─ no signal within the time ─▶ ask once more ─▶ ErrBehind
//
// There is no polling, each followed feed costs the bus one subscription however many wait, and the store one question
// at a time, each asked after the signal that it answers for.
package atleast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var (
	// ErrBehind says that the store has not come up to the floor within the time.
	ErrBehind = errors.New("the store is behind")
	// ErrFull says that as many are waiting as may.
	ErrFull = errors.New("too many are waiting already")
	// ErrClosed says that nobody waits here any more.
	ErrClosed = errors.New("no longer waiting")
)

const (
	// followTimeout bounds one attempt to follow a feed, followRetry is the pause after one that failed.
	followTimeout = 2 * time.Second
	followRetry   = 250 * time.Millisecond
	// askTimeout bounds one question to the store, lastGrace how long a waiter whose time is over waits for its last one.
	askTimeout = 2 * time.Second
	lastGrace  = 500 * time.Millisecond
)

// AskFunc asks the store for a feed's head; zero: no such feed.
type AskFunc func(ctx context.Context, name feed.Name) (feed.Cursor, error)

// Waiters is everybody who waits. It is safe for concurrent use.
type Waiters struct {
	// static
	ask    AskFunc
	most   int
	logger *slog.Logger
	ctx    context.Context // ends with Close
	end    context.CancelFunc
	sub    bus.Subscription

	running sync.WaitGroup // follow and question goroutines; Add only under mu and before closed

	mu      sync.Mutex
	closed  bool
	waiting int
	feeds   map[feed.Name]*watched
}

// watched is a feed that somebody waits for, or did a moment ago. Guarded by Waiters.mu, but for name and idle.
type watched struct {
	name    feed.Name
	idle    chan struct{} // holds 1: maybe nobody is left
	waiters map[*waiter]struct{}
	head    bus.Head // newest that the bus has told
	asking  bool     // a question goroutine runs
	again   bool     // and has to ask once more: something came after it had asked
}

type waiter struct {
	floor Floor
	done  chan error // holds 1
	last  bool       // its time is over; the next question decides. Guarded by Waiters.mu
}

// New makes a Waiters of at most `most` at a time, with one subscription to the bus. Close ends it.
func New(b bus.Bus, ask AskFunc, most int, logger *slog.Logger) (*Waiters, error) {
	w := &Waiters{ask: ask, most: most, logger: logger, feeds: make(map[feed.Name]*watched)}
	w.ctx, w.end = context.WithCancel(context.Background())
	sub, err := b.Subscribe((*follower)(w))
	if err != nil {
		w.end()
		return nil, fmt.Errorf("subscribe to the bus: %w", err)
	}
	w.sub = sub
	return w, nil
}

// Wait returns nil once the store has been seen to meet the floor, asked after Wait was called. It gives up at until,
// after one last question (ErrBehind; within half a second of it), and when ctx ends. Errors: ErrBehind, ErrFull,
// ErrClosed, ctx's.
func (w *Waiters) Wait(ctx context.Context, name feed.Name, floor Floor, until time.Time) error {
	me := &waiter{floor: floor, done: make(chan error, 1)}
	f, err := w.join(name, me)
	if err != nil {
		return err
	}
	defer w.leave(f, me)

	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case err := <-me.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}

	// Maybe only the signal was lost.
	w.mu.Lock()
	me.last = true
	w.askLocked(f)
	w.mu.Unlock()
	timer.Reset(lastGrace)
	select {
	case err := <-me.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ErrBehind
	}
}

// Waiting is how many wait right now.
func (w *Waiters) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

// Close ends all waiting with ErrClosed, and the subscription. Closing twice is fine.
func (w *Waiters) Close() {
	w.mu.Lock()
	w.closed = true
	for _, f := range w.feeds {
		for me := range f.waiters {
			me.finish(ErrClosed)
		}
	}
	w.mu.Unlock()
	w.end()
	w.running.Wait()
	w.sub.Close()
}

func (w *Waiters) join(name feed.Name, me *waiter) (*watched, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, ErrClosed
	case w.waiting >= w.most:
		return nil, ErrFull
	}
	f := w.feeds[name]
	if f == nil {
		f = &watched{name: name, idle: make(chan struct{}, 1), waiters: make(map[*waiter]struct{})}
		w.feeds[name] = f
		w.running.Add(1)
		go w.follow(f)
	}
	f.waiters[me] = struct{}{}
	w.waiting++
	if f.head.Known && me.floor.Met(f.head.Cursor) { // signalled before it came
		w.askLocked(f)
	}
	return f, nil
}

func (w *Waiters) leave(f *watched, me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(f.waiters, me)
	w.waiting--
	f.idleLocked()
}

// follow follows the feed for as long as somebody waits for it. It alone follows and unfollows, so that these never race.
func (w *Waiters) follow(f *watched) {
	defer w.running.Done()
	for {
		ctx, cancel := context.WithTimeout(w.ctx, followTimeout)
		heads, err := w.sub.Follow(ctx, f.name)
		cancel()
		var retry <-chan time.Time
		if err == nil {
			w.told(f.name, heads[0])
		} else {
			retry = time.After(followRetry) // until then the waiters' last question has to do
		}
		if !w.awaitIdle(f, retry) {
			if w.ctx.Err() != nil {
				return
			}
			continue
		}
		w.sub.Unfollow(f.name)
		if w.forget(f) {
			return
		}
	}
}

// awaitIdle waits until nobody waits for the feed (true), until retry, or the end.
func (w *Waiters) awaitIdle(f *watched, retry <-chan time.Time) bool {
	for {
		select {
		case <-w.ctx.Done():
			return false
		case <-retry:
			return false
		case <-f.idle:
		}
		w.mu.Lock()
		idle := len(f.waiters) == 0 && !f.asking
		w.mu.Unlock()
		if idle {
			return true
		}
	}
}

// forget drops the feed, unless somebody has come to wait for it meanwhile.
func (w *Waiters) forget(f *watched) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(f.waiters) > 0 || f.asking {
		return false
	}
	delete(w.feeds, f.name)
	return true
}

func (w *Waiters) told(name feed.Name, h bus.Head) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.feeds[name]
	if f == nil || !h.Known {
		return
	}
	if h.Newer(f.head) {
		f.head = h
	}
	for me := range f.waiters {
		if me.floor.Met(f.head.Cursor) {
			w.askLocked(f)
			return
		}
	}
}

// askLocked has the store asked: at once, or after the question under way, which may be older than what it is asked for.
func (w *Waiters) askLocked(f *watched) {
	switch {
	case w.closed:
	case f.asking:
		f.again = true
	default:
		f.asking = true
		w.running.Add(1)
		go w.question(f)
	}
}

func (w *Waiters) question(f *watched) {
	defer w.running.Done()
	for {
		w.mu.Lock()
		f.again = false
		var last []*waiter
		for me := range f.waiters {
			if me.last {
				last = append(last, me)
			}
		}
		w.mu.Unlock()

		head, err := w.askStore(f.name)
		if err != nil && w.ctx.Err() == nil {
			w.logger.Warn("can't ask the store how far a feed is", "feed", f.name, "error", err)
		}

		w.mu.Lock()
		if err == nil {
			for me := range f.waiters {
				if me.floor.Met(head) {
					me.finish(nil)
				}
			}
		}
		for _, me := range last {
			me.finish(ErrBehind)
		}
		if !f.again || w.closed {
			f.asking = false
			f.idleLocked()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

func (w *Waiters) askStore(name feed.Name) (head feed.Cursor, err error) {
	defer func() {
		if p := recover(); p != nil { // it would take the process down, not one request
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(w.ctx, askTimeout)
	defer cancel()
	return w.ask(ctx, name)
}

func (f *watched) idleLocked() {
	if len(f.waiters) > 0 || f.asking {
		return
	}
	select {
	case f.idle <- struct{}{}:
	default:
	}
}

// finish gives the first outcome to the waiter.
func (me *waiter) finish(err error) {
	select {
	case me.done <- err:
	default:
	}
}

// follower is Waiters as the bus sees it.
type follower Waiters

var _ bus.Follower = (*follower)(nil)

func (w *follower) Signal(name feed.Name, h bus.Head) { (*Waiters)(w).told(name, h) }

// Alive changes nothing: newest heads come as signals, and without the bus the last question has to do.
func (w *follower) Alive(bool) {}
