// Package window keeps the feeds that are read at the moment in memory, so that the store is asked once per change of
// a feed and not once per reader.
//
//	Read ─▶ Feed: is its View believed? ─▶ yes: the answer is in memory
//	                                  └─▶ no: one fill for everybody who needs one ─▶ store: what came since the View
//	signal, own write ─▶ Feed: told of a newer head ─▶ its View isn't believed; who waits gets a fill at once
//
// # Why it doesn't lie
//
// A View holds every change beyond its base, as of its head, each key once; every answer is cut out of one View. A
// delta, once computed, stays a valid delta for ever, so one that was loaded earlier may be served whatever has become of
// the feed meanwhile: a purge takes tombstones from the store that the View may still hold, which makes answers from here
// better than the store's, never wrong. A View advances by the delta since its head. Where the store can't give that (a
// purge took tombstones beyond the View's head, the feed was dropped, or the bounds are exceeded), it begins anew. Items that
// max_items trims go in writes, which move the head like all others.
//
// A View is believed to be the newest while the feed is followed, no signal told of a newer head, and the bus is alive: whatever is
// committed is signalled, and Follow's own head tells of what was before. Writes of this instance are told before they
// are answered. When the bus was lost, whatever was loaded before that is checked once more. Without belief the store is
// asked, by one question for all who came before it was asked.
//
// Resets are the store's to decide, but for cursors of older epochs than a View's: epochs never come back.
//
// # Locks
//
// Windows.mu is taken before Feed.mu, never under it; the wheel's and the one for spawning are leaves. The bus is called
// under none but for Alive; the cache under Windows.mu alone, and calls back on goroutines of its own.
package window

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Store is what the windows are filled from.
type Store interface {
	Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error)
}

// Options say what there is and how much of it may be used. Store, Bus and Logger are required.
type Options struct {
	Store  Store
	Bus    bus.Bus
	Logger *slog.Logger
	// Bytes is about how much memory all feeds together may take. 0: 64 MiB.
	Bytes int
	// MaxWaiting is how many reads may wait for their floor at once. 0: 10,000.
	MaxWaiting int
	// AtLeastWait is how long they do. 0: 2 s.
	AtLeastWait time.Duration
	// ReadTimeout bounds one question to the store. 0: 5 s.
	ReadTimeout time.Duration
	// Found is told the heads that the store tells; it must not block. nil: nobody.
	Found func(feed.Name, feed.Cursor)
}

const (
	// feedMemory is about what a feed takes beside its View.
	feedMemory = 1 << 10
	// maxRows is how many rows one feed's window has at most.
	maxRows = 10_000
)

// Windows are all feeds in memory. It is safe for concurrent use.
type Windows struct {
	// static
	opts   Options
	most   bounds // of one feed's rows
	keep   int64  // bytes of one View's answers
	sub    bus.Subscription
	cache  *otter.Cache[feed.Name, *Feed] // who goes when it gets tight
	direct singleflight.Group
	ctx    context.Context // ends with Close
	end    context.CancelFunc

	// life counts the losses of the bus, lost says that it is lost now.
	life    atomic.Uint64
	lost    atomic.Bool
	asked   atomic.Uint64 // counts direct questions
	waiting atomic.Int64  // reads that wait for their floor
	waits   atomic.Int64  // and have
	parked  atomic.Int64  // long polls
	wheel   wheel

	spawning sync.Mutex // a leaf
	ended    bool
	running  sync.WaitGroup // what spawn runs

	mu      sync.Mutex
	closed  bool
	feeds   map[feed.Name]*Feed // all that are in the cache, or waited for
	follows map[feed.Name]*follow
	queue   []*follow // those whose state is to change
	workers int
}

// New makes Windows with one subscription to the bus. Close ends it.
func New(opts Options) (*Windows, error) {
	opts.Bytes = cmp.Or(opts.Bytes, 64<<20)
	opts.MaxWaiting = cmp.Or(opts.MaxWaiting, 10_000)
	opts.AtLeastWait = cmp.Or(opts.AtLeastWait, 2*time.Second)
	opts.ReadTimeout = cmp.Or(opts.ReadTimeout, 5*time.Second)
	if opts.Found == nil {
		opts.Found = func(feed.Name, feed.Cursor) {}
	}
	w := &Windows{
		opts: opts,
		// One feed may take a sixteenth with its rows, and as much again with its answers.
		most:    bounds{rows: maxRows, bytes: max(opts.Bytes/16, 4<<10)},
		keep:    int64(max(opts.Bytes/16, 16<<10)),
		feeds:   make(map[feed.Name]*Feed),
		follows: make(map[feed.Name]*follow),
	}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.wheel.init(w)
	var err error
	w.cache, err = otter.New(&otter.Options[feed.Name, *Feed]{
		MaximumWeight: uint64(opts.Bytes),
		Weigher:       func(_ feed.Name, f *Feed) uint32 { return f.weight() },
		OnDeletion:    w.evicted,
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	w.sub, err = opts.Bus.Subscribe((*follower)(w))
	if err != nil {
		w.end()
		return nil, fmt.Errorf("subscribe to the bus: %w", err)
	}
	w.lost.Store(!opts.Bus.Alive())
	return w, nil
}

// Hot is the feed, if it is in memory; nil otherwise. The name need not be checked before.
func (w *Windows) Hot(name string) *Feed {
	f, _ := w.cache.GetIfPresent(feed.Name(name))
	if f == nil || f.retired.Load() {
		return nil
	}
	return f
}

// Feed is the feed, which is in memory and followed from now on for as long as it is read often enough.
func (w *Windows) Feed(name feed.Name) *Feed {
	if f := w.Hot(string(name)); f != nil {
		return f
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.feeds[name]
	if f == nil {
		f = &Feed{name: name, w: w, closed: w.closed}
		if w.closed {
			return f // it serves this one read
		}
		w.feeds[name] = f
		w.followLocked(f)
	}
	w.cache.Set(name, f)
	return f
}

// Told says that the feed has come to head, because a write has just been committed here. Reads that begin later see
// it.
func (w *Windows) Told(name feed.Name, head feed.Cursor) {
	if f := w.known(name); f != nil {
		f.told(bus.At(head))
	}
}

// Doubt says that the feed may have moved: the outcome of a write is not known.
func (w *Windows) Doubt(name feed.Name) {
	if f := w.known(name); f != nil {
		f.doubt()
	}
}

// Waiting is how many reads wait for their floor.
func (w *Windows) Waiting() int { return int(w.waiting.Load()) }

// Waits is how many reads have had to wait for their floor so far.
func (w *Windows) Waits() int64 { return w.waits.Load() }

// Parked is how many long polls wait for news.
func (w *Windows) Parked() int { return int(w.parked.Load()) }

// Feeds is how many feeds are in memory.
func (w *Windows) Feeds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.feeds)
}

// Bytes is about how much memory they take.
func (w *Windows) Bytes() int { return int(w.cache.WeightedSize()) }

// Close answers everybody who waits with ErrClosed, and ends what runs behind the scenes. Reads still work; each asks
// the store. Closing twice is fine.
func (w *Windows) Close() {
	w.mu.Lock()
	w.closed = true
	var feeds []*Feed
	for _, f := range w.feeds {
		feeds = append(feeds, f)
	}
	w.mu.Unlock()
	w.spawning.Lock()
	w.ended = true
	w.spawning.Unlock()
	w.end()
	for _, f := range feeds {
		f.close()
	}
	w.running.Wait()
	w.sub.Close()
	w.cache.StopAllGoroutines()
}

// Closed tells whether Close has been called: then every read asks the store.
func (w *Windows) Closed() bool { return w.ctx.Err() != nil }

func (w *Windows) known(name feed.Name) *Feed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.feeds[name]
}

// trusted tells whether what the bus says, and doesn't say, can be believed.
func (w *Windows) trusted() bool { return !w.lost.Load() && w.opts.Bus.Alive() }

// evicted lets go of a feed that the cache has let go of, unless somebody waits for it.
func (w *Windows) evicted(e otter.DeletionEvent[feed.Name, *Feed]) {
	if !e.WasEvicted() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(e.Value)
}

// dropLocked lets go of a feed that is not in the cache, unless somebody waits for it.
func (w *Windows) dropLocked(f *Feed) {
	if w.feeds[f.name] != f || w.closed {
		return
	}
	if e, in := w.cache.GetEntryQuietly(f.name); in && e.Value == f {
		return // it is back
	}
	if !f.retire() {
		return // somebody waits: it goes when they have
	}
	delete(w.feeds, f.name)
	w.unfollowLocked(f.name)
}

// reweigh tells the cache that the feed has become lighter or heavier.
func (w *Windows) reweigh(f *Feed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.feeds[f.name] == f && !w.closed {
		if _, in := w.cache.GetEntryQuietly(f.name); in {
			w.cache.Set(f.name, f)
		}
	}
}

// spawn runs f as something that Close waits for, unless that has been called.
func (w *Windows) spawn(f func()) bool {
	w.spawning.Lock()
	defer w.spawning.Unlock()
	if !w.ended {
		w.running.Go(f)
	}
	return !w.ended
}
