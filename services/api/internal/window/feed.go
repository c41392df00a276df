package window

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Feed is one feed in memory. It is safe for concurrent use.
type Feed struct {
	// static
	name feed.Name
	w    *Windows

	believed atomic.Pointer[belief] // the View, while nothing that the feed knows speaks against it
	retired  atomic.Bool            // nobody is told of this feed's signals any more
	held     atomic.Pointer[View]   // what weight goes by
	pace     pace

	mu     sync.Mutex
	closed bool
	live   bool     // signals come
	head   bus.Head // newest that was told,
	toldIn uint64   // in this life of the bus
	view   *View    // nil: none yet
	// begun is the number of the newest fill that has begun, seen that of the one that last confirmed view, and life the
	// bus's when that began. Fills up to doubted don't count: something happened after they began. It did up to missed for
	// another reason than a write of this instance.
	begun, seen, doubted, missed uint64
	life                         uint64
	filling, next                *fill
	// failed: the last fill found nobody to ask; gone: and nothing speaks for there being somebody again. resting: a fill
	// has come to nothing a moment ago.
	failed, gone, resting bool
	polls                 list
	// large: in this epoch a snapshot doesn't fit the window; far: nor does a delta from this seq of it.
	large feed.Epoch
	far   feed.Cursor
}

// belief is a View and the life of the bus that it was loaded in.
type belief struct {
	view *View
	life uint64
}

// Name is the feed's.
func (f *Feed) Name() feed.Name { return f.name }

// Current is the View, if it is believed to be the newest. It is what readers call first: no lock, no allocation.
func (f *Feed) Current() *View {
	b := f.believed.Load()
	if b == nil || b.life != f.w.life.Load() || !f.w.trusted() {
		return nil
	}
	return b.view
}

// Head is the head, if it is known without asking the store: the newest that was loaded, or told. The zero Cursor says that
// there is no such feed.
func (f *Feed) Head() (head feed.Cursor, ok bool) {
	if v := f.Current(); v != nil {
		return v.Head, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ok = f.live && f.head.Known && f.toldIn == f.w.life.Load() && !f.doubtfulLocked() && f.w.trusted()
	return f.head.Cursor, ok
}

// Heard is what the head is, given what the bus has just said of a feed that isn't followed yet.
func (f *Feed) Heard(h bus.Head) (head feed.Cursor, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head.Newer(h) {
		h = f.head
	}
	return h.Cursor, h.Known && !f.doubtfulLocked()
}

// doubtfulLocked tells whether something has happened that only the store can tell about.
func (f *Feed) doubtfulLocked() bool { return f.doubted > 0 && f.seen <= f.doubted }

// Make builds the answer to k at v, once however many ask at once, and keeps it where there is room, under the other keys
// as well.
func (f *Feed) Make(v *View, k Key, build func() (Answer, error), also ...Key) (Answer, error) {
	before := v.answers.weight.Load()
	a, err := v.make(k, f.w.keep, build)
	if err == nil {
		for _, other := range also {
			v.alias(other, a, f.w.keep)
		}
	}
	if v.answers.weight.Load() != before {
		f.w.reweigh(f)
	}
	return a, err
}

// told notes a head. One that somebody waits for begins a fill.
func (f *Feed) told(h bus.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head.Newer(h) {
		return
	}
	f.toldIn = f.w.life.Load()
	f.head = h
	f.gone = false // somebody has just written
	if f.filling != nil {
		f.filling.told = true
	}
	f.pace.moved(h.Cursor, time.Now())
	f.believeLocked()
	// Also when it is told again: the store may not have had it the first time.
	if f.polls.anyMet(h.Cursor) {
		f.fillLocked(want{})
	}
}

// doubt makes what is loaded, or being loaded, count no longer.
func (f *Feed) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	f.doubted = f.begun
	f.believeLocked()
}

// followed says that signals come from now on, and that the head was h then. Where that isn't known, what was loaded
// before doesn't count.
func (f *Feed) followed(h bus.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live, f.toldIn = true, f.w.life.Load()
	if !h.Known {
		f.doubted, f.missed = f.begun, f.begun
	} else if h.Newer(f.head) {
		f.head = h
		f.pace.moved(h.Cursor, time.Now())
	}
	f.believeLocked()
	if !f.polls.empty() && (!h.Known || f.polls.anyMet(h.Cursor)) {
		f.fillLocked(want{})
	}
}

// retire ends belief in a feed that is about to be unfollowed, unless somebody waits for it.
func (f *Feed) retire() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.polls.empty() {
		return false
	}
	f.retired.Store(true)
	f.live = false
	f.believeLocked()
	return true
}

// close wakes everybody who waits.
func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.live = true, false
	f.believeLocked()
	for n := f.polls.first; n != nil; n = n.next {
		n.poll.rouse()
	}
}

// believeLocked brings believed in line with the rest.
func (f *Feed) believeLocked() {
	if !f.live || f.view == nil || f.seen <= f.doubted || f.head.Newer(bus.At(f.view.Head)) {
		f.believed.Store(nil)
		return
	}
	if b := f.believed.Load(); b == nil || b.view != f.view || b.life != f.life {
		f.believed.Store(&belief{view: f.view, life: f.life})
	}
}

// weight is what the cache counts.
func (f *Feed) weight() uint32 {
	n := int64(feedMemory)
	if v := f.held.Load(); v != nil {
		n += int64(v.bytes) + v.answers.weight.Load()
	}
	return uint32(min(n, math.MaxUint32))
}

// want is what a fill is to make answerable, beside the newest head: all items, or everything beyond a seq.
type want struct {
	whole bool
	since feed.Cursor // with an epoch of 0: a seq of the current one; zero: nothing
	// enough is the head that will do; it counts together with what was told. primary: the newest there is.
	enough  feed.Cursor
	primary bool
	// by is whose trace the fill is part of; nil: nobody's.
	by context.Context
}

func wantOf(q store.Query, floor Floor) want {
	n := want{enough: floor.Cursor, primary: floor.Bare}
	if (q.Since.Seq == 0 && !q.Since.Walk()) || q.Since.Seq < q.Since.Base {
		n.whole = true
	} else {
		n.since = feed.Cursor{Epoch: q.Since.Epoch, Seq: q.Since.Seq}
	}
	if n.since.Compare(n.enough) > 0 {
		n.enough = n.since
	}
	return n
}

// and is both, or as much of it as one question can be about.
func (a want) and(b want) want {
	a.whole, a.primary = a.whole || b.whole, a.primary || b.primary
	if b.enough.Compare(a.enough) > 0 {
		a.enough = b.enough
	}
	if a.by == nil {
		a.by = b.by
	}
	if a.since.IsZero() || (!b.since.IsZero() && a.since.Epoch == b.since.Epoch && b.since.Seq < a.since.Seq) {
		a.since = b.since
	}
	return a
}

// hopelessLocked tells whether it is known that the window can't hold what is wanted.
func (f *Feed) hopelessLocked(n want) bool {
	epoch := f.view.Head.Epoch
	if n.whole {
		return f.large == epoch
	}
	return f.far.Epoch == epoch && n.since.Seq <= f.far.Seq
}
