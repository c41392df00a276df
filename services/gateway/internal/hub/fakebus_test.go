package hub_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// fakeBus is a bus whose calls take as long, and fail as often, as a test likes; and that watches over the contract:
// Follow and Unfollow of one feed never at the same time.
type fakeBus struct {
	t      *testing.T
	shards *shard.Pool // of the hub on it

	mu sync.Mutex
	// before is called before anything is done, without the lock; its error is Follow's.
	before   func(ctx context.Context, call string, names []feed.Name) error
	follower bus.Follower
	alive    bool
	heads    map[feed.Name]bus.Head
	followed map[feed.Name]bool
	busy     map[feed.Name]string
	calls    []string
	batches  map[string][]int // sizes, by call
	closed   bool
}

var (
	_ bus.Bus          = busOf{}
	_ bus.Subscription = (*fakeBus)(nil)
)

func newFakeBus(t *testing.T) *fakeBus {
	return &fakeBus{
		t: t, alive: true,
		heads: map[feed.Name]bus.Head{}, followed: map[feed.Name]bool{}, busy: map[feed.Name]string{},
		batches: map[string][]int{},
	}
}

func (b *fakeBus) Subscribe(f bus.Follower) (bus.Subscription, error) {
	b.follower = f
	return b, nil
}

// when sets before.
func (b *fakeBus) when(before func(ctx context.Context, call string, names []feed.Name) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = before
}

func (b *fakeBus) begin(ctx context.Context, call string, names []feed.Name) error {
	if before := b.note(call, names); before != nil {
		return before(ctx, call, names)
	}
	return nil
}

func (b *fakeBus) note(call string, names []feed.Name) func(context.Context, string, []feed.Name) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range names {
		if other := b.busy[n]; other != "" {
			b.t.Errorf("%s of %s during its %s", call, n, other)
		}
		b.busy[n] = call
		b.calls = append(b.calls, call+" "+string(n))
	}
	b.batches[call] = append(b.batches[call], len(names))
	return b.before
}

func (b *fakeBus) Follow(ctx context.Context, names ...feed.Name) ([]bus.Head, error) {
	err := b.begin(ctx, "follow", names)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && !b.alive {
		err = bus.ErrUnavailable
	}
	heads := make([]bus.Head, len(names))
	for i, n := range names {
		delete(b.busy, n)
		if err == nil {
			b.followed[n], heads[i] = true, b.heads[n]
		}
	}
	return heads, err
}

func (b *fakeBus) Unfollow(names ...feed.Name) {
	_ = b.begin(context.Background(), "unfollow", names)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range names {
		delete(b.busy, n)
		delete(b.followed, n)
	}
}

// set moves a head, and signals it to who follows.
func (b *fakeBus) set(name feed.Name, seq int64) {
	b.mu.Lock()
	h := bus.At(feed.Cursor{Epoch: 1, Seq: seq})
	if h.Newer(b.heads[name]) {
		b.heads[name] = h
	}
	tell := b.followed[name] && b.alive
	b.mu.Unlock()
	if tell {
		b.follower.Signal(name, h)
	}
}

// setTraced is set by a publish that had a trace.
func (b *fakeBus) setTraced(name feed.Name, seq int64, trace string) {
	h := bus.At(feed.Cursor{Epoch: 1, Seq: seq})
	b.mu.Lock()
	b.heads[name] = h
	tell := b.followed[name]
	b.mu.Unlock()
	if tell {
		b.follower.(bus.TraceFollower).TracedSignal(name, h, trace)
	}
}

// lose and find are the bus's Alive.
func (b *fakeBus) lose() {
	b.mu.Lock()
	b.alive = false
	b.mu.Unlock()
	b.follower.Alive(false)
}

func (b *fakeBus) find() {
	b.mu.Lock()
	b.alive = true
	type signal struct {
		name feed.Name
		head bus.Head
	}
	var signals []signal
	for n := range b.followed {
		if b.heads[n].Known {
			signals = append(signals, signal{n, b.heads[n]})
		}
	}
	b.mu.Unlock()
	for _, s := range signals {
		b.follower.Signal(s.name, s.head)
	}
	b.follower.Alive(true)
}

func (b *fakeBus) head(name feed.Name) bus.Head {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heads[name]
}

func (b *fakeBus) following() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.followed)
}

// said gives the calls so far and forgets them.
func (b *fakeBus) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	slices.Sort(calls)
	return calls
}

func (b *fakeBus) Alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.alive
}

func (b *fakeBus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// busOf is the fakeBus as a bus: the two contracts' Close differ.
type busOf struct{ *fakeBus }

func (b busOf) Close() error                                        { return nil }
func (busOf) Answer(bus.Answerer) func()                            { return func() {} }
func (busOf) Publish(context.Context, feed.Name, feed.Cursor) error { panic("not called") }
func (busOf) Heads(context.Context, []feed.Name, time.Duration) ([]bus.Head, error) {
	panic("not called")
}
