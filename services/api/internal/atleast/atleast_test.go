package atleast

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(seq int64) feed.Cursor { return feed.Cursor{Epoch: 1, Seq: seq} }

func newWaiters(t *testing.T, b bus.Bus, ask AskFunc) *Waiters {
	t.Helper()
	w, err := New(b, ask, 1000, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestFloor(t *testing.T) {
	older, newer := feed.Cursor{Epoch: 1, Seq: 9}, feed.Cursor{Epoch: 2, Seq: 3}
	for _, tc := range []struct {
		floor Floor
		head  feed.Cursor
		met   bool
	}{
		{Floor{}, feed.Cursor{}, true},
		{Floor{Cursor: older}, older, true},
		{Floor{Cursor: older}, newer, true},
		{Floor{Cursor: newer}, older, false},
		{Floor{Cursor: older}, at(8), false},
		{Floor{Cursor: older}, feed.Cursor{}, false},
		{Floor{Cursor: feed.Cursor{Seq: 3}, Bare: true}, newer, true},
		{Floor{Cursor: feed.Cursor{Seq: 4}, Bare: true}, newer, false},
		{Floor{Cursor: feed.Cursor{Seq: 1}, Bare: true}, feed.Cursor{}, false},
		{Floor{Bare: true}, feed.Cursor{}, true},
	} {
		if got := tc.floor.Met(tc.head); got != tc.met {
			t.Errorf("%v met by %v: %v", tc.floor, tc.head, got)
		}
	}
}

// TestForgotten: a feed that nobody waits for any more isn't followed either, and can be waited for again.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membus.New(membus.Options{})
		defer func() { _ = b.Close() }()
		var head atomic.Int64
		w := newWaiters(t, b, func(context.Context, feed.Name) (feed.Cursor, error) { return at(head.Load()), nil })
		defer w.Close()
		for range 3 {
			if err := w.Wait(t.Context(), "a", Floor{Cursor: at(head.Load() + 1)}, time.Now().Add(time.Second)); !errors.Is(err, ErrBehind) {
				t.Fatal(err)
			}
			var err error
			var wg sync.WaitGroup
			wg.Go(func() {
				err = w.Wait(t.Context(), "a", Floor{Cursor: at(head.Load() + 1)}, time.Now().Add(time.Second))
			})
			time.Sleep(time.Millisecond)
			if perr := b.Publish(t.Context(), "a", at(head.Add(1))); perr != nil {
				t.Fatal(perr)
			}
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.mu.Lock()
			if len(w.feeds) != 0 || w.waiting != 0 {
				t.Errorf("%d feeds are followed, %d wait", len(w.feeds), w.waiting)
			}
			w.mu.Unlock()
		}
	})
}

// flakyBus can't follow for a while.
type flakyBus struct {
	bus.Bus
	fails atomic.Int64
}

type flakySub struct {
	bus.Subscription
	bus *flakyBus
}

func (b *flakyBus) Subscribe(f bus.Follower) (bus.Subscription, error) {
	sub, err := b.Bus.Subscribe(f)
	return flakySub{sub, b}, err
}

func (s flakySub) Follow(ctx context.Context, names ...feed.Name) ([]bus.Head, error) {
	if s.bus.fails.Add(-1) >= 0 {
		return nil, bus.ErrUnavailable
	}
	return s.Subscription.Follow(ctx, names...)
}

// TestFollowsAsSoonAsItCan: the bus is back before the time is over.
func TestFollowsAsSoonAsItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &flakyBus{Bus: membus.New(membus.Options{})}
		defer func() { _ = b.Close() }()
		b.fails.Store(2)
		if err := b.Publish(t.Context(), "a", at(1)); err != nil {
			t.Fatal(err)
		}
		w := newWaiters(t, b, func(context.Context, feed.Name) (feed.Cursor, error) { return at(1), nil })
		defer w.Close()
		begin := time.Now()
		if err := w.Wait(t.Context(), "a", Floor{Cursor: at(1)}, begin.Add(2*time.Second)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 2*followRetry {
			t.Errorf("took %s", took)
		}
	})
}

// TestManyComeAndGo: nobody is told too early, nobody is forgotten, and no feed is asked for twice at a time.
func TestManyComeAndGo(t *testing.T) {
	b := membus.New(membus.Options{})
	defer func() { _ = b.Close() }()
	names := []feed.Name{"a", "b"}
	var heads [2]atomic.Int64
	var asking [2]atomic.Int64
	index := func(name feed.Name) int { return int(name[0] - 'a') }
	w := newWaiters(t, b, func(_ context.Context, name feed.Name) (feed.Cursor, error) {
		i := index(name)
		if asking[i].Add(1) != 1 {
			t.Errorf("%s is asked for twice at a time", name)
		}
		defer asking[i].Add(-1)
		return at(heads[i].Load()), nil
	})
	defer w.Close()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 400 {
				name := names[random.IntN(2)]
				i := index(name)
				if g < 2 { // the writers
					if err := b.Publish(t.Context(), name, at(heads[i].Add(1))); err != nil {
						t.Error(err)
					}
					continue
				}
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(4) == 0 {
					go cancel()
				}
				want := heads[i].Load() + int64(random.IntN(2))
				err := w.Wait(ctx, name, Floor{Cursor: at(want)}, time.Now().Add(20*time.Millisecond))
				cancel()
				switch {
				case err == nil:
					if heads[i].Load() < want {
						t.Errorf("told of %d at %d", want, heads[i].Load())
					}
				case !errors.Is(err, context.Canceled) && !errors.Is(err, ErrBehind):
					t.Errorf("want %d, at %d: %v", want, heads[i].Load(), err)
				}
			}
		})
	}
	wg.Wait()
	if n := w.Waiting(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}
