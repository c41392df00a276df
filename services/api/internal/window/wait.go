package window

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

// lastGrace is how long a read whose time is over waits for its last question to be answered.
const lastGrace = 500 * time.Millisecond

// Poll waits for news of feeds. It belongs to one goroutine.
type Poll struct {
	w     *Windows
	wake  chan struct{} // holds 1
	awake atomic.Bool
	over  bool // its time is. Set before it is roused
	one   node
	many  []*node
	spoke spoke // its place in the wheel
}

// node is a Poll's place in the list of one feed. Guarded by Feed.mu, but for poll, feed and floor.
type node struct {
	poll       *Poll
	feed       *Feed
	floor      Floor
	prev, next *node
	in         bool
}

// NewPoll makes a Poll of nothing yet.
func (w *Windows) NewPoll() *Poll { return &Poll{w: w, wake: make(chan struct{}, 1)} }

// On has the Poll woken when the feed comes to the floor, and gives the feed that it is on, which stays in memory until Leave: f, or
// the one in its place if the cache has let go of f.
func (p *Poll) On(f *Feed, floor Floor) *Feed {
	n := &p.one
	if n.feed != nil {
		n = new(node)
		p.many = append(p.many, n)
	}
	n.poll, n.floor = p, floor
	for !n.join(f) {
		f = f.w.Feed(f.name)
	}
	return f
}

// join puts the node into the feed's list, unless no signal would come there.
func (n *node) join(f *Feed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retired.Load() {
		return false
	}
	n.feed = f
	f.polls.push(n)
	switch {
	case f.closed:
		n.poll.rouse()
	case f.view != nil && n.floor.Met(f.view.Head):
		n.poll.rouse()
	case f.head.Known && n.floor.Met(f.head.Cursor): // signalled, and not loaded yet
		f.fillLocked(want{})
	case f.live && !f.head.Known && f.view == nil: // it may have been signalled to the feed that was here before
		f.fillLocked(want{})
	}
	return true
}

// Wait waits until one of the feeds has news, which are loaded by then, or until d has passed (up to a tick of the wheel
// less), Close or ctx's end. It tells whether there may be news. A Poll waits once.
func (p *Poll) Wait(ctx context.Context, d time.Duration) bool {
	p.w.parked.Add(1)
	p.w.wheel.add(p, d)
	select {
	case <-p.wake:
	case <-ctx.Done():
	}
	p.w.wheel.remove(p)
	p.w.parked.Add(-1)
	return !p.over && ctx.Err() == nil
}

// Leave ends what On began.
func (p *Poll) Leave() {
	if p.one.feed != nil {
		p.one.leave()
	}
	for _, n := range p.many {
		n.leave()
	}
}

// Wake ends the wait, or the one that is to come. It may be called by anybody, at any time.
func (p *Poll) Wake() { p.rouse() }

func (p *Poll) rouse() {
	if p.awake.CompareAndSwap(false, true) {
		p.wake <- struct{}{}
	}
}

func (n *node) leave() {
	f := n.feed
	f.mu.Lock()
	f.polls.remove(n)
	last := f.polls.empty()
	f.mu.Unlock()
	if !last {
		return
	}
	w := f.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(f) // if the cache has wanted to let go of it meanwhile
}

// list is the Polls of one feed. Guarded by Feed.mu.
type list struct{ first *node }

func (l *list) empty() bool { return l.first == nil }

func (l *list) push(n *node) {
	n.in, n.next = true, l.first
	if l.first != nil {
		l.first.prev = n
	}
	l.first = n
}

func (l *list) remove(n *node) {
	if !n.in {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	n.in, n.prev, n.next = false, nil, nil
}

// anyMet tells whether a head is what one of them waits for.
func (l *list) anyMet(head feed.Cursor) bool {
	for n := l.first; n != nil; n = n.next {
		if n.floor.Met(head) && !n.poll.awake.Load() {
			return true
		}
	}
	return false
}

// await waits until a View of the feed that p is on meets the floor, at most until then and for one last question. Views of fills that
// began after arrived count.
func (f *Feed) await(ctx context.Context, p *Poll, floor Floor, until time.Time, arrived uint64) error {
	if f.w.waiting.Add(1) > int64(f.w.opts.MaxWaiting) {
		f.w.waiting.Add(-1)
		return ErrFull
	}
	defer f.w.waiting.Add(-1)
	f.w.waits.Add(1)
	ctx, span := tracing.Start(ctx, "wait for at_least")
	defer span.End()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-p.wake:
		return f.outcome(floor, arrived)
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	// Maybe only the signal was lost.
	f.mu.Lock()
	last := f.fillLocked(want{primary: true})
	f.mu.Unlock()
	if last == nil {
		return ErrClosed
	}
	timer.Reset(lastGrace)
	select {
	case <-last.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	return f.outcome(floor, arrived)
}

func (f *Feed) outcome(floor Floor, arrived uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.view != nil && f.seen > arrived && floor.Met(f.view.Head):
		return nil
	case f.closed:
		return ErrClosed
	}
	return ErrBehind
}
