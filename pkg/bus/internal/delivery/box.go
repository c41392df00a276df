// Package delivery is the half of a bus that is the same wherever the heads are: which subscription of this process
// follows which feed, the goroutine that tells it, and who waits for heads that aren't known yet.
//
//	Feed.Signal ─▶ the Box of each follower: a feed once ─▶ its goroutine ─▶ Follower
//
// A Box holds feeds, not signals; the head is read when the signal is delivered. So a slow Follower costs no memory and
// nobody else's time, and always hears of the newest head.
//
// Nothing here has a lock of its own: all of it is guarded by one mutex of the bus, which everything is called with that does not
// say that it takes it itself. No Follower is called under it.
package delivery

import (
	"slices"
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// batch is the most names that one hold of the mutex takes care of.
const batch = 1000

// Feed is what a process holds of one feed.
type Feed struct {
	Name feed.Name
	Head bus.Head

	followers []*Follow // those that are told
	claimed   int       // Follows of it, told or not yet
	traced    *traced   // nil: no head of it has had a trace
}

// traced is a head that was published with a trace. It doesn't change.
type traced struct {
	cursor feed.Cursor
	trace  string
}

// Traced notes that the head, which the Feed has, was published with the trace; "": it wasn't, as far as this signal tells.
func (f *Feed) Traced(trace string) {
	if trace != "" {
		f.traced = &traced{f.Head.Cursor, trace}
	}
}

// trace is the one of the head; "": it has none.
func (f *Feed) trace() string {
	if f.traced == nil || f.traced.cursor != f.Head.Cursor {
		return ""
	}
	return f.traced.trace
}

// InUse tells whether any Box follows it or is about to.
func (f *Feed) InUse() bool { return f.claimed > 0 }

// Shared tells whether several Boxes are told of it.
func (f *Feed) Shared() bool { return len(f.followers) > 1 }

// Signal has its followers told of its head.
func (f *Feed) Signal() {
	for _, w := range f.followers {
		w.box.queue.push(w)
		w.box.wake.Signal()
	}
}

// Follow is one feed followed by one Box.
type Follow struct {
	Feed *Feed
	box  *Box

	prev, next *Follow // in the queue
	queued     bool
	attached   bool  // it is among the feed's followers
	settled    bool  // a call has succeeded
	dropped    bool  // it is over
	claims     int32 // calls under way
}

// Attach has signals of the feed delivered from now on. It does nothing the second time, and after the Follow has been
// dropped.
func (f *Follow) Attach() {
	if !f.attached && !f.dropped {
		f.attached = true
		f.Feed.followers = append(f.Feed.followers, f)
	}
}

// Box is one subscription: what it follows, and what its Follower has to be told.
type Box struct {
	// static
	mu       *sync.Mutex
	follower bus.Follower
	tracing  bus.TraceFollower // the same; nil: it doesn't want to know
	ended    chan struct{}
	done     chan struct{}

	// guarded by mu
	closed  bool
	alive   bool
	told    bool // what the Follower has been told of that
	follows map[feed.Name]*Follow
	queue   queue
	back    Follow    // its place in the queue is that of Alive(true)
	wake    sync.Cond // something above has changed
}

// NewBox makes a Box that follows nothing; f believes the bus to be alive or not, as given. Run has to be called.
func NewBox(mu *sync.Mutex, f bus.Follower, alive bool) *Box {
	b := &Box{
		mu: mu, follower: f, alive: alive, told: alive,
		ended: make(chan struct{}), done: make(chan struct{}), follows: make(map[feed.Name]*Follow),
	}
	b.wake.L = mu
	b.tracing, _ = f.(bus.TraceFollower)
	return b
}

// Ended is closed when the Box is closed. It needs no mutex.
func (b *Box) Ended() <-chan struct{} { return b.ended }

// Done is closed when Run has returned: the Follower is not called any more. It needs no mutex.
func (b *Box) Done() <-chan struct{} { return b.done }

// Closed tells whether Close has been called.
func (b *Box) Closed() bool { return b.closed }

// Claim makes the feed followed by this Box, for as long as a call lasts (until Settle) or for good. The result may not
// be attached yet.
func (b *Box) Claim(f *Feed) *Follow {
	w := b.follows[f.Name]
	if w == nil {
		w = &Follow{Feed: f, box: b}
		f.claimed++
		b.follows[f.Name] = w
	}
	w.claims++
	return w
}

// Settle ends the claims of one call. After a call that has failed, Follows that no call has made good, and that no other
// wants, are dropped; left is called for the feed of each, with the mutex, which Settle takes itself.
func (b *Box) Settle(claimed []*Follow, ok bool, left func(*Feed)) {
	for some := range slices.Chunk(claimed, batch) {
		b.mu.Lock()
		for _, w := range some {
			w.claims--
			w.settled = w.settled || ok
			if !w.settled && w.claims == 0 && !w.dropped {
				b.drop(w)
				left(w.Feed)
			}
		}
		b.mu.Unlock()
	}
}

// Unfollow ends following feeds; left is called for each that was followed, with the mutex, which Unfollow takes itself.
func (b *Box) Unfollow(names []feed.Name, left func(*Feed)) {
	for some := range slices.Chunk(names, batch) {
		b.mu.Lock()
		for _, name := range some {
			if w := b.follows[name]; w != nil {
				b.drop(w)
				left(w.Feed)
			}
		}
		b.mu.Unlock()
	}
}

func (b *Box) drop(w *Follow) {
	f := w.Feed
	delete(b.follows, f.Name)
	b.queue.remove(w)
	w.dropped = true
	f.claimed--
	if !w.attached {
		return
	}
	i, last := slices.Index(f.followers, w), len(f.followers)-1
	f.followers[i] = f.followers[last]
	f.followers[last] = nil
	if f.followers = f.followers[:last]; last == 0 {
		f.followers = nil
	}
}

// Lose tells the Follower that the bus is lost. Signals that it hasn't been told of yet are gone.
func (b *Box) Lose() {
	b.alive = false
	b.queue.clear()
	b.wake.Signal()
}

// Find tells the Follower of all known heads, then that the bus is back.
func (b *Box) Find() {
	b.alive = true
	for _, w := range b.follows {
		if w.attached && w.Feed.Head.Known {
			b.queue.push(w)
		}
	}
	b.queue.push(&b.back)
	b.wake.Signal()
}

// Close drops everything, calling left for each feed, and ends Run. It does nothing the second time.
func (b *Box) Close(left func(*Feed)) {
	if b.closed {
		return
	}
	b.closed = true
	close(b.ended)
	for _, w := range b.follows {
		b.drop(w)
		left(w.Feed)
	}
	b.wake.Signal()
}

// Run calls the Follower, one call at a time, until the Box is closed. It takes the mutex itself.
func (b *Box) Run() {
	defer close(b.done)
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		if !b.alive && b.told {
			b.told = false
			b.call(func() { b.follower.Alive(false) })
			continue
		}
		w := b.queue.pop()
		switch {
		case w == nil:
			b.wake.Wait()
		case w != &b.back:
			name, head := w.Feed.Name, w.Feed.Head
			if trace := w.Feed.trace(); trace != "" && b.tracing != nil {
				b.call(func() { b.tracing.TracedSignal(name, head, trace) })
				continue
			}
			b.call(func() { b.follower.Signal(name, head) })
		case b.alive && !b.told:
			b.told = true
			b.call(func() { b.follower.Alive(true) })
		}
	}
}

// call makes f a call without the lock, which is held before and after.
func (b *Box) call(f func()) {
	b.mu.Unlock()
	defer b.mu.Lock()
	f()
}
