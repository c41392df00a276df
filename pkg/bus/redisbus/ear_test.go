package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// patience is how long what has to come may take; the machine may be busy.
const patience = 20 * time.Second

// ear is a Follower that remembers the newest heads and every change of Alive.
type ear struct {
	t   testing.TB
	sub bus.Subscription

	mu      sync.Mutex
	newest  map[feed.Name]bus.Head
	signals map[feed.Name]int
	alive   []bool
	changed chan struct{} // closed at the next call
}

func listen(t testing.TB, b *redisbus.Bus) *ear {
	t.Helper()
	r := &ear{
		t: t, newest: make(map[feed.Name]bus.Head), signals: make(map[feed.Name]int), changed: make(chan struct{}),
	}
	sub, err := b.Subscribe(r)
	if err != nil {
		t.Fatal(err)
	}
	r.sub = sub
	return r
}

func (r *ear) Signal(name feed.Name, h bus.Head) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signals[name]++
	if h.Newer(r.newest[name]) {
		r.newest[name] = h
	}
	r.changedLocked()
}

func (r *ear) Alive(alive bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alive = append(r.alive, alive)
	r.changedLocked()
}

func (r *ear) changedLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// until waits for ok, which is called with r.mu held.
func (r *ear) until(what string, ok func() bool) {
	r.t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		is, changed, alive := ok(), r.changed, fmt.Sprint(r.alive)
		r.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatalf("waited for %s in vain; alive: %s", what, alive)
		}
	}
}

// await waits until all feeds have been signalled at c or newer.
func (r *ear) await(c feed.Cursor, names ...feed.Name) {
	r.t.Helper()
	for _, name := range names {
		r.until(fmt.Sprintf("%s at %s", name, c), func() bool { return r.newest[name].Covers(c) })
	}
}

func (r *ear) awaitAlive(alive bool) {
	r.t.Helper()
	r.until(fmt.Sprintf("alive(%t)", alive), func() bool { return len(r.alive) > 0 && r.alive[len(r.alive)-1] == alive })
}

// count is how often the feed was signalled; changes is how often Alive was called.
func (r *ear) count(name feed.Name) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.signals[name]
}

func (r *ear) changes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.alive)
}

func (r *ear) follow(names ...feed.Name) []bus.Head {
	r.t.Helper()
	heads, err := r.sub.Follow(r.t.Context(), names...)
	if err != nil {
		r.t.Fatalf("Follow: %v", err)
	}
	return heads
}

func at(epoch, seq int64) feed.Cursor { return feed.Cursor{Epoch: feed.Epoch(epoch), Seq: seq} }

func names(n int) []feed.Name {
	all := make([]feed.Name, n)
	for i := range all {
		all[i] = feed.Name(fmt.Sprintf("feeds:%d", i))
	}
	return all
}

func publish(t testing.TB, b bus.Bus, c feed.Cursor, names ...feed.Name) {
	t.Helper()
	for _, name := range names {
		if err := b.Publish(t.Context(), name, c); err != nil {
			t.Fatalf("Publish %s: %v", name, err)
		}
	}
}

// publishSoon publishes as soon as the bus lets it.
func publishSoon(t testing.TB, b bus.Bus, c feed.Cursor, names ...feed.Name) {
	t.Helper()
	late := time.Now().Add(patience)
	for _, name := range names {
		for {
			err := b.Publish(t.Context(), name, c)
			if err == nil {
				break
			}
			if !errors.Is(err, bus.ErrUnavailable) || time.Now().After(late) {
				t.Fatalf("Publish: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// wantUnavailable wants every call to fail soon.
func wantUnavailable(t *testing.T, b *redisbus.Bus, r *ear) {
	t.Helper()
	for what, call := range map[string]func() error{
		"Publish": func() error { return b.Publish(t.Context(), "loss:1", at(9, 9)) },
		"Heads":   func() error { return second(b.Heads(t.Context(), names(3), time.Second)) },
		"Follow":  func() error { return second(r.sub.Follow(t.Context(), "loss:1")) },
		"Mark":    func() error { return second(b.Mark(t.Context())) },
		"SetMark": func() error { return b.SetMark(context.WithoutCancel(t.Context()), "life", "text") },
	} {
		begin := time.Now()
		if err := call(); !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", what, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s took %s", what, took)
		}
	}
}

func second[T any](_ T, err error) error { return err }
