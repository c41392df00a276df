package delivery

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Waiting is who waits for which heads.
type Waiting map[feed.Name][]*Waiter

// Waiter is a call that waits for heads.
type Waiter struct {
	done  chan struct{}
	left  int // 1 more than are awaited until the call has counted them all
	names []feed.Name
}

// NewWaiter makes a Waiter that waits for nothing yet.
func NewWaiter() *Waiter { return &Waiter{done: make(chan struct{}), left: 1} }

func (w *Waiter) count() {
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// Add makes w wait for the feed's head.
func (all Waiting) Add(w *Waiter, name feed.Name) {
	all[name] = append(all[name], w)
	w.names = append(w.names, name)
	w.left++
}

// Come says that the feed's head is known, or that there is no hope for it.
func (all Waiting) Come(name feed.Name) {
	waiters, ok := all[name]
	if !ok { // what happens with each signal
		return
	}
	delete(all, name)
	for _, w := range waiters {
		w.count()
	}
}

// Wait waits until all that has been added to w has come, at most for the given time. The error is ctx's, or bus.ErrClosed when
// the subscription (nil: there is none) or the whole bus has ended. It takes the mutex itself; nothing may be added any more.
func (all Waiting) Wait(ctx context.Context, mu *sync.Mutex, w *Waiter, wait time.Duration, subscription, whole <-chan struct{}) error {
	defer all.Forget(mu, w)
	mu.Lock()
	w.count()
	mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-subscription:
		return bus.ErrClosed
	case <-whole:
		return bus.ErrClosed
	}
	return nil
}

// Forget ends w's waiting for all that hasn't come. It takes the mutex itself.
func (all Waiting) Forget(mu *sync.Mutex, w *Waiter) {
	for some := range slices.Chunk(w.names, batch) {
		mu.Lock()
		for _, name := range some {
			if left := slices.DeleteFunc(all[name], func(other *Waiter) bool { return other == w }); len(left) > 0 {
				all[name] = left
			} else {
				delete(all, name)
			}
		}
		mu.Unlock()
	}
}
