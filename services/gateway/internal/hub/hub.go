package hub

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// ErrClosed says that the hub or the client has been closed.
var ErrClosed = errors.New("the hub is closed")

// ErrTooManyFeeds says that a client would follow more feeds than it may.
var ErrTooManyFeeds = errors.New("too many feeds")

// Options is how a hub works. All of it is static.
type Options struct {
	Bus    bus.Bus
	Logger *slog.Logger
	// Shards run the fan-out. They stay the caller's, and must be closed before what is written to is gone.
	Shards *shard.Pool
	// MaxFeeds is how many feeds one client may follow.
	MaxFeeds int
	// Flushed is told how long it took from a signal to the last of a shard's followers of a feed; nil: nobody. It is called
	// with a lock held.
	Flushed func(time.Duration)
	// Panicked is told of each panic that has cost a client its connection; nil: nobody.
	Panicked func()
	// FollowTimeout is how long one call to the bus may take before its feeds are answered as not known and tried again.
	FollowTimeout time.Duration
	// RetryMin and RetryMax bound the pause before feeds that the bus refused are tried again; it doubles in between.
	RetryMin, RetryMax time.Duration
	// Spread is how long the pulls after a signal of a feed with so many followers here are to be spread over. It must be quick, and
	// must not call the hub. nil: no signal is spread.
	Spread func(name feed.Name, followers int) time.Duration
	// Trace begins the way of a signal that has come with a trace; it must be quick, and must not call the hub. nil: traces are of no
	// interest.
	Trace func(name feed.Name, head bus.Head, trace string) Trace
	// Linger is how long a feed is still followed after its last client has left.
	Linger time.Duration
}

const (
	maxBatch = 1000   // feeds in one call to the bus
	maxCalls = 16     // calls to the bus at a time
	maxIdle  = 10_000 // feeds that linger; beyond it the one that has lingered longest goes
)

// Hub is one ear on the bus for all clients of this process. It is safe for concurrent use.
type Hub struct {
	// Static after New.
	opt    Options
	sub    bus.Subscription
	ctx    context.Context // of the calls to the bus
	cancel context.CancelFunc
	calls  sync.WaitGroup

	merged atomic.Uint64 // signals that found one pending
	traces traces

	mu sync.Mutex
	// Guarded by mu.
	feeds      map[feed.Name]*entry
	waiters    map[*entry][]*answer // what waits for a feed to be live
	large      map[*entry]struct{}  // those of largeCrowd followers or more
	clients    []*Client
	follows    int       // of all clients
	signals    uint64    // so far
	coalesced  uint64    // by passes
	lostAt     time.Time // when the bus was; zero: it isn't
	lostFor    time.Duration
	alive      bool // whether the bus is
	aliveKnown bool // whether the bus itself has said so
	closed     bool
	// Guarded by mu: the feeds' numbers, up to lastNumber, of which some are not in use.
	lastNumber  uint32
	freeNumbers []uint32
	// Guarded by mu: what is to be said to the bus. Each set holds the entries of the phase of its name.
	wanted, retrying, leaving map[*entry]struct{}
	underWay                  int
	retryPause                time.Duration
	retryTimer                *time.Timer // nil: not running
	idle                      list.List   // of *entry, live and without clients, the longest first
	idleTimer                 *time.Timer // nil: not running
}

type phase uint8

const (
	wanted phase = iota
	following
	live
	retrying
	leaving
	unfollowing
)

// New makes a hub that listens to the bus.
func New(opt Options) (*Hub, error) {
	h := &Hub{
		opt:      opt,
		feeds:    make(map[feed.Name]*entry),
		waiters:  make(map[*entry][]*answer),
		large:    make(map[*entry]struct{}),
		wanted:   make(map[*entry]struct{}),
		retrying: make(map[*entry]struct{}),
		leaving:  make(map[*entry]struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	var ear bus.Follower = (*follower)(h)
	if opt.Trace != nil {
		ear = tracedFollower{(*follower)(h)}
	}
	sub, err := opt.Bus.Subscribe(ear)
	if err != nil {
		h.cancel()
		return nil, fmt.Errorf("listen to the bus: %w", err)
	}
	h.sub = sub
	alive := opt.Bus.Alive()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.aliveKnown { // a change that came meanwhile is newer than what was asked
		h.setAliveLocked(alive)
	}
	return h, nil
}

// Close ends following. Clients are not told anything more. Closing twice is fine.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	for _, timer := range []*time.Timer{h.retryTimer, h.idleTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	h.mu.Unlock()
	h.cancel()
	h.calls.Wait()
	h.sub.Close()
	h.traces.endAll()
}

// Stats is how much a hub holds right now.
type Stats struct {
	Clients int
	Feeds   int // followed on the bus, or about to be
	Follows int // feeds of clients, each of each
	Alive   bool

	Signals   uint64 // from the bus, so far
	Coalesced uint64 // signals to a client that a later one has made unnecessary, about
	Degraded  time.Duration
}

// Stats counts.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{
		Clients: len(h.clients), Feeds: len(h.feeds), Follows: h.follows, Alive: h.alive,
		Signals: h.signals, Coalesced: h.coalesced + h.merged.Load(), Degraded: h.lostFor,
	}
	if !h.lostAt.IsZero() {
		s.Degraded += time.Since(h.lostAt)
	}
	return s
}

// follower is the hub as the bus sees it.
type follower Hub

var _ bus.Follower = (*follower)(nil)

// Signal hands a newer head on to the shards of whoever follows the feed.
func (f *follower) Signal(name feed.Name, head bus.Head) {
	h := (*Hub)(f)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signals++
	if e := h.feeds[name]; e != nil && e.advanceLocked(head) {
		h.overtakeLocked(e)
		h.tellLocked(e)
	}
}

// Alive tells every client that the bus was lost, or is back.
func (f *follower) Alive(alive bool) {
	h := (*Hub)(f)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aliveKnown = true
	if h.alive == alive || h.closed {
		return
	}
	h.setAliveLocked(alive)
	if alive {
		h.opt.Logger.InfoContext(h.ctx, "the bus is back", "clients", len(h.clients), "feeds", len(h.feeds))
		h.retryLocked()
	} else {
		h.opt.Logger.WarnContext(h.ctx, "the bus is lost; clients poll until it is back",
			"clients", len(h.clients), "feeds", len(h.feeds))
	}
	for _, c := range h.clients {
		c.setAlive(alive)
	}
}

// setAliveLocked keeps the time, too.
func (h *Hub) setAliveLocked(alive bool) {
	h.alive = alive
	switch {
	case !alive && h.lostAt.IsZero():
		h.lostAt = time.Now()
	case alive && !h.lostAt.IsZero():
		h.lostFor += time.Since(h.lostAt)
		h.lostAt = time.Time{}
	}
}

// MaxFeeds is how many feeds one client may follow.
func (h *Hub) MaxFeeds() int { return h.opt.MaxFeeds }

// largeCrowd is how many followers make a feed a large one.
const largeCrowd = 50

// sizeLocked notes whether the feed is a large one.
func (h *Hub) sizeLocked(e *entry) {
	if e.crowd != nil && e.crowd.count >= largeCrowd {
		h.large[e] = struct{}{}
	} else {
		delete(h.large, e)
	}
}

// Large gives the followers of the large feeds.
func (h *Hub) Large() map[feed.Name]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := make(map[feed.Name]int, len(h.large))
	for e := range h.large {
		counts[e.name] = e.crowd.count
	}
	return counts
}
