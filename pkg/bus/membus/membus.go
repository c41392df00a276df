// Package membus is the bus within one process: what Doorbell uses when all of it runs as one binary.
//
//	Publish ─▶ head moves ─▶ delivery.Box of each follower ─▶ Follower
//	                     └─▶ with a signal interval: at its next multiple
//
// One mutex guards everything and is held for short, bounded steps only; no call leaves the package under it.
package membus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	defaultAskWait   = 250 * time.Millisecond
	defaultMaxAbsent = 100_000
	// batch is the most names that one hold of the mutex takes care of, and the most that an Answerer is asked for.
	batch = 1000
)

// Options are all optional.
type Options struct {
	// Interval gives each feed's signal interval. It is called under the bus's lock: it must be quick and must not call
	// the bus. nil: no feed has one.
	Interval bus.IntervalFunc
	// AskWait is how long Follow waits for heads that the bus doesn't know. 0: 250 ms.
	AskWait time.Duration
	// MaxAbsent is how many "no such feed" heads are kept of feeds that nobody follows, so that asking for made-up
	// names doesn't fill the memory; beyond that any of them becomes unknown again. 0: 100,000.
	MaxAbsent int
}

// Bus is a bus.Bus within one process. It keeps the head of every feed that was published, for as long as it lives.
type Bus struct {
	// static
	interval  bus.IntervalFunc
	askWait   time.Duration
	maxAbsent int
	ctx       context.Context // ends with the bus
	end       context.CancelFunc
	running   sync.WaitGroup // delivering and asking goroutines
	topics    *delivery.Topics

	mu        sync.Mutex
	closed    bool
	lost      bool // between Interrupt and Resume
	resumed   int  // how often it has been found again
	feeds     map[feed.Name]*state
	absent    map[feed.Name]struct{} // those of feeds that don't exist and nobody follows
	subs      map[*subscription]struct{}
	ticks     map[time.Duration]*tick // by interval
	answerers int
	waiting   delivery.Waiting
	asked     map[feed.Name]struct{}          // heads that are in toAsk, or with an Answerer
	askLater  *time.Timer                     // runs while heads are to be asked for again
	toAsk     []feed.Name                     // questions that no Answerer has been given yet
	asking    sync.Cond                       // toAsk has grown, or an Answerer ends
	kept      map[string]map[string]time.Time // by set, then by entry: until when
}

var (
	_ bus.Bus         = (*Bus)(nil)
	_ bus.Broadcaster = (*Bus)(nil)
	_ bus.Keeper      = (*Bus)(nil)
)

// state is what the bus holds of one feed that has a known head or a follower. Guarded by Bus.mu.
type state struct {
	delivery.Feed
	ticking bool // it is signalled at its interval's next multiple
}

// tick is the next multiple of one interval, for all feeds that wait for it. Guarded by Bus.mu.
type tick struct {
	timer *time.Timer
	feeds []*state
}

// New makes a bus that knows no heads. Close ends it.
func New(opts Options) *Bus {
	b := &Bus{
		interval:  opts.Interval,
		askWait:   opts.AskWait,
		maxAbsent: opts.MaxAbsent,
		feeds:     make(map[feed.Name]*state),
		absent:    make(map[feed.Name]struct{}),
		subs:      make(map[*subscription]struct{}),
		ticks:     make(map[time.Duration]*tick),
		waiting:   make(delivery.Waiting),
		asked:     make(map[feed.Name]struct{}),
		topics:    delivery.NewTopics(),
		kept:      make(map[string]map[string]time.Time),
	}
	b.ctx, b.end = context.WithCancel(context.Background())
	b.asking.L = &b.mu
	if b.interval == nil {
		b.interval = func(feed.Name) time.Duration { return 0 }
	}
	if b.askWait <= 0 {
		b.askWait = defaultAskWait
	}
	if b.maxAbsent <= 0 {
		b.maxAbsent = defaultMaxAbsent
	}
	return b
}

// Publish never waits for followers, so ctx is looked at for its trace alone: a head that is known should not be withheld
// because the request that made it has gone.
func (b *Bus) Publish(ctx context.Context, name feed.Name, c feed.Cursor) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errLocked(); err != nil {
		return err
	}
	st := b.stateLocked(name)
	h := bus.At(c)
	if st.Head.Newer(h) {
		return nil
	}
	st.Head = h
	st.Traced(bus.TraceOf(ctx))
	b.waiting.Come(name)
	b.changedLocked(st)
	b.tidyLocked(st)
	return nil
}

// Heads returns ctx's error if it ends while heads are waited for.
func (b *Bus) Heads(ctx context.Context, names []feed.Name, wait time.Duration) ([]bus.Head, error) {
	heads := make([]bus.Head, len(names))
	w := delivery.NewWaiter()
	var unknown []int // indexes of names
	for at := 0; at < len(names); at += batch {
		b.mu.Lock()
		if err := b.errLocked(); err != nil {
			b.mu.Unlock()
			b.waiting.Forget(&b.mu, w)
			return nil, err
		}
		for i := at; i < min(at+batch, len(names)); i++ {
			if heads[i] = b.headLocked(names[i]); heads[i].Known {
				continue
			}
			unknown = append(unknown, i)
			b.askLocked(names[i])
			if wait > 0 {
				b.awaitLocked(w, names[i])
			}
		}
		b.mu.Unlock()
	}
	if len(unknown) == 0 || wait <= 0 {
		return heads, nil
	}
	if err := b.waiting.Wait(ctx, &b.mu, w, wait, nil, b.ctx.Done()); err != nil {
		return nil, err
	}
	return heads, b.fill(heads, names, unknown)
}

// fill reads the heads of the names at the given indexes.
func (b *Bus) fill(heads []bus.Head, names []feed.Name, at []int) error {
	for part := range slices.Chunk(at, batch) {
		b.mu.Lock()
		err := b.errLocked()
		for _, i := range part {
			heads[i] = b.headLocked(names[i])
		}
		b.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Alive is false after Interrupt and after Close only.
func (b *Bus) Alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.errLocked() == nil
}

// Interrupt makes the bus behave as one whose server is lost: signals on their way are gone, every call returns
// bus.ErrUnavailable, a Publish stores nothing, and followers are told Alive(false). Heads from before are kept.
func (b *Bus) Interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.lost {
		return
	}
	b.lost = true
	b.stopTicksLocked()
	for s := range b.subs {
		s.box.Lose()
	}
}

// Resume ends what Interrupt began: all followed feeds are signalled with their newest heads, then followers are told
// Alive(true). Heads of followed feeds that are still unknown are asked for.
func (b *Bus) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !b.lost {
		return
	}
	b.lost = false
	b.resumed++
	for s := range b.subs {
		s.box.Find()
	}
	b.askAgainLocked()
	b.topics.Gap()
}

// Close waits until the calls of Followers, Answerers and Listeners that are under way have ended, so it must not be called from
// within one.
func (b *Bus) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		b.end()
		b.stopTicksLocked()
		if b.askLater != nil {
			b.askLater.Stop()
		}
		for s := range b.subs {
			s.endLocked()
		}
		b.asking.Broadcast()
	}
	b.mu.Unlock()
	b.running.Wait()
	b.topics.Close()
	return nil
}

func (b *Bus) errLocked() error {
	switch {
	case b.closed:
		return bus.ErrClosed
	case b.lost:
		return bus.ErrUnavailable
	}
	return nil
}

func (b *Bus) headLocked(name feed.Name) bus.Head {
	if st := b.feeds[name]; st != nil {
		return st.Head
	}
	return bus.Head{}
}

// stateLocked is the feed's, which tidyLocked lets go of again when there's nothing in it.
func (b *Bus) stateLocked(name feed.Name) *state {
	st := b.feeds[name]
	if st == nil {
		st = &state{Feed: delivery.Feed{Name: name}}
		b.feeds[name] = st
	}
	return st
}

// changedLocked signals the feed's followers, at once or at its interval's next multiple.
func (b *Bus) changedLocked(st *state) {
	if !st.InUse() || st.ticking {
		return
	}
	d := b.interval(st.Name)
	if d <= 0 {
		st.Signal()
		return
	}
	t := b.ticks[d]
	if t == nil {
		// All feeds of one interval have their next multiple at the same moment: one timer does for them.
		t = &tick{}
		now := time.Now()
		t.timer = time.AfterFunc(now.Truncate(d).Add(d).Sub(now), func() { b.tick(d, t) })
		b.ticks[d] = t
	}
	t.feeds = append(t.feeds, st)
	st.ticking = true
}

func (b *Bus) tick(d time.Duration, t *tick) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ticks[d] != t { // stopped when it had already fired
		return
	}
	delete(b.ticks, d)
	for _, st := range t.feeds {
		st.ticking = false
		st.Signal()
	}
}

func (b *Bus) stopTicksLocked() {
	for _, t := range b.ticks {
		t.timer.Stop()
		for _, st := range t.feeds {
			st.ticking = false
		}
	}
	clear(b.ticks)
}

// tidyLocked lets go of what need not be kept, after st has changed. What goes is unknown again; nothing comes before
// "no such feed" but that, so heads still only move forward.
func (b *Bus) tidyLocked(st *state) {
	idle := !st.InUse()
	switch {
	case idle && !st.Head.Known:
		delete(b.feeds, st.Name)
	case idle && st.Head.Cursor.IsZero():
		b.absent[st.Name] = struct{}{}
		for name := range b.absent {
			if len(b.absent) <= b.maxAbsent {
				break
			}
			delete(b.absent, name)
			delete(b.feeds, name)
		}
	default:
		delete(b.absent, st.Name)
	}
}
