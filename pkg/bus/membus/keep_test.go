package membus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// counter is a Follower that counts.
type counter struct {
	signals map[feed.Name]bus.Head
	calls   int
	signal  chan struct{} // gets something for each signal, if there's room
}

func newCounter() *counter {
	return &counter{signals: make(map[feed.Name]bus.Head), signal: make(chan struct{}, 1)}
}

func (c *counter) Alive(bool) {}

func (c *counter) Signal(name feed.Name, h bus.Head) {
	c.signals[name] = h
	c.calls++
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

func cursor(seq int64) feed.Cursor { return feed.Cursor{Epoch: 1, Seq: seq} }

func feeds(n int) []feed.Name {
	all := make([]feed.Name, n)
	for i := range all {
		all[i] = feed.Name(fmt.Sprintf("feeds:%d", i))
	}
	return all
}

func subscribe(t testing.TB, b *Bus, f bus.Follower, names ...feed.Name) bus.Subscription {
	t.Helper()
	s, err := b.Subscribe(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Follow(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInterruptedPublishStoresNothing(t *testing.T) {
	b := New(Options{})
	defer b.Close()
	if err := b.Publish(t.Context(), "a", cursor(1)); err != nil {
		t.Fatal(err)
	}
	b.Interrupt()
	for name, c := range map[feed.Name]feed.Cursor{"a": cursor(2), "b": cursor(1)} {
		if err := b.Publish(t.Context(), name, c); !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("Publish: %v, want ErrUnavailable", err)
		}
	}
	b.Resume()
	heads, err := b.Heads(t.Context(), []feed.Name{"a", "b"}, 0)
	if want := []bus.Head{bus.At(cursor(1)), {}}; err != nil || !slices.Equal(heads, want) {
		t.Errorf("heads %v, %v, want %v", heads, err, want)
	}
}

func TestLaterAnswererIsAskedForFollowedFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		f := newCounter()
		subscribe(t, b, f, "a")
		defer b.Answer(func(ctx context.Context, names []feed.Name) {
			for _, name := range names {
				_ = b.Publish(ctx, name, cursor(1)) // checked by what arrives
			}
		})()
		synctest.Wait()
		if f.signals["a"] != bus.At(cursor(1)) {
			t.Errorf("signalled %v", f.signals)
		}
	})
}

func TestAnswersLostWithTheBusAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{AskWait: time.Second})
		defer b.Close()
		f := newCounter()
		gate := make(chan struct{})
		asked := 0
		defer b.Answer(func(ctx context.Context, names []feed.Name) {
			asked++
			<-gate
			if asked > 1 {
				for _, name := range names {
					_ = b.Publish(ctx, name, cursor(1)) // checked by what arrives
				}
			}
		})()
		subscribe(t, b, f, "a") // unknown, and the question is under way
		b.Interrupt()
		b.Resume()
		close(gate) // it ends without an answer
		synctest.Wait()
		if asked != 2 || f.signals["a"] != bus.At(cursor(1)) {
			t.Errorf("asked %d times, signalled %v", asked, f.signals)
		}
	})
}

func TestUnknownFollowedFeedsAreAskedForOnResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		f := newCounter()
		broken := true
		defer b.Answer(func(ctx context.Context, names []feed.Name) {
			for _, name := range names {
				if !broken {
					_ = b.Publish(ctx, name, cursor(1)) // checked by what arrives
				}
			}
		})()
		subscribe(t, b, f, "a")
		broken = false
		b.Interrupt()
		b.Resume()
		synctest.Wait()
		if f.signals["a"] != bus.At(cursor(1)) {
			t.Errorf("signalled %v", f.signals)
		}
	})
}

func TestHeadsOfFeedsThatDoNotExistAreBounded(t *testing.T) {
	b := New(Options{MaxAbsent: 10})
	defer b.Close()
	subscribe(t, b, newCounter(), "followed")
	names := append(feeds(1000), "followed", "real")
	for _, name := range names {
		if err := b.Publish(t.Context(), name, feed.Cursor{}); err != nil {
			t.Fatal(err)
		}
		if name == "real" {
			if err := b.Publish(t.Context(), name, cursor(0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range feeds(1000) {
		_ = b.Publish(t.Context(), name, feed.Cursor{})
	}
	if len(b.feeds) > 12 || len(b.absent) > 10 {
		t.Errorf("%d heads are kept, %d of feeds that don't exist", len(b.feeds), len(b.absent))
	}
	heads, err := b.Heads(t.Context(), []feed.Name{"followed", "real"}, 0)
	if want := []bus.Head{bus.At(feed.Cursor{}), bus.At(cursor(0))}; err != nil || !slices.Equal(heads, want) {
		t.Errorf("heads %v, %v, want %v", heads, err, want)
	}
}

func TestNothingIsKeptOfUnknownFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		stop := b.Answer(func(context.Context, []feed.Name) {})
		s := subscribe(t, b, newCounter(), feeds(2500)...)
		if _, err := b.Heads(t.Context(), feeds(5000), time.Second); err != nil {
			t.Fatal(err)
		}
		s.Unfollow(feeds(1200)...)
		s.Close()
		synctest.Wait()
		stop()
		if len(b.feeds)+len(b.waiting)+len(b.asked)+len(b.toAsk)+len(b.subs) > 0 {
			t.Errorf("kept %d feeds, %d waited for, %d asked for, %d to ask, %d subscriptions",
				len(b.feeds), len(b.waiting), len(b.asked), len(b.toAsk), len(b.subs))
		}
	})
}

// TestFollowingIsCheap: 100,000 feeds cost some memory each, and neither goroutines nor timers.
func TestFollowingIsCheap(t *testing.T) {
	const many, mostBytes = 100_000, 500
	b := New(Options{Interval: func(feed.Name) time.Duration { return time.Hour }})
	defer b.Close()
	names := feeds(many)
	goroutines, before := runtime.NumGoroutine(), heap()
	s := subscribe(t, b, newCounter(), names...)
	for _, name := range names {
		if err := b.Publish(t.Context(), name, cursor(1)); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / many
	t.Logf("%d bytes for each followed feed", each)
	if each > mostBytes {
		t.Errorf("%d bytes for each followed feed, want at most %d", each, mostBytes)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 1 {
		t.Errorf("%d goroutines for one subscription", more)
	}
	if len(b.ticks) != 1 {
		t.Errorf("%d timers for one interval", len(b.ticks))
	}
	s.Close()
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkPublishToSignal is the time from Publish to the Follower's call, amid 100,000 followed feeds.
func BenchmarkPublishToSignal(b *testing.B) {
	m := New(Options{})
	defer m.Close()
	f := newCounter()
	names := feeds(100_000)
	subscribe(b, m, f, names...)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := m.Publish(b.Context(), names[i%len(names)], cursor(int64(i))); err != nil {
			b.Fatal(err)
		}
		<-f.signal
	}
}
