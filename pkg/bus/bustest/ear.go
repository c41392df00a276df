package bustest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// ear is a Follower that writes everything down, with the subscription it belongs to. It fails its test when it's called
// twice at the same time, or after its subscription has been closed.
type ear struct {
	// static after construction
	e    *env
	sub  bus.Subscription
	hook func(feed.Name) // called for each signal before it's written down; may be nil

	calls  atomic.Int32 // under way
	closed atomic.Bool

	mu      sync.Mutex
	events  []event
	newest  map[feed.Name]bus.Head
	changed chan struct{} // closed at the next event
}

// event is one call of a Follower: of Signal, or (with no name) of Alive.
type event struct {
	name  feed.Name
	head  bus.Head
	alive bool
	at    time.Time
}

func (v event) String() string {
	if v.name == "" {
		return fmt.Sprintf("alive(%t)", v.alive)
	}
	return fmt.Sprintf("%s: %s", v.name, text(v.head))
}

// listen subscribes to a node.
func (e *env) listen(b bus.Bus) *ear {
	e.Helper()
	return e.listenWith(b, nil)
}

func (e *env) listenWith(b bus.Bus, hook func(feed.Name)) *ear {
	e.Helper()
	r := e.ear(b, hook)
	if r == nil {
		e.FailNow()
	}
	return r
}

// listenAsync is listen for goroutines other than the test's; nil when the test has failed.
func (e *env) listenAsync(b bus.Bus) *ear { return e.ear(b, nil) }

func (e *env) ear(b bus.Bus, hook func(feed.Name)) *ear {
	r := &ear{e: e, hook: hook, newest: make(map[feed.Name]bus.Head), changed: make(chan struct{})}
	sub, err := b.Subscribe(r)
	if err != nil {
		e.Errorf("Subscribe: %v", err)
		return nil
	}
	r.sub = sub
	return r
}

func (e *env) follow(r *ear, ns ...feed.Name) []bus.Head {
	e.Helper()
	heads, err := r.sub.Follow(e.Context(), ns...)
	if err != nil {
		e.Fatalf("Follow %d feeds: %v", len(ns), err)
	}
	if len(heads) != len(ns) {
		e.Fatalf("Follow %d feeds gave %d heads", len(ns), len(heads))
	}
	return heads
}

func (r *ear) Signal(n feed.Name, h bus.Head) {
	defer r.enter("Signal")()
	if n == "" || !h.Known {
		r.e.Errorf("signalled %q with the head %s", n, text(h))
	}
	if r.hook != nil {
		r.hook(n)
	}
	r.note(event{name: n, head: h, at: time.Now()})
}

func (r *ear) Alive(alive bool) {
	defer r.enter("Alive")()
	r.note(event{alive: alive, at: time.Now()})
}

func (r *ear) enter(what string) (leave func()) {
	if r.calls.Add(1) != 1 {
		r.e.Errorf("%s was called while another call was under way", what)
	}
	if r.closed.Load() {
		r.e.Errorf("%s was called after Close had returned", what)
	}
	return func() { r.calls.Add(-1) }
}

func (r *ear) note(v event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, v)
	if v.name != "" && v.head.Newer(r.newest[v.name]) {
		r.newest[v.name] = v.head
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// close closes the subscription; from then on any call is an error.
func (r *ear) close() {
	r.sub.Close()
	r.mute()
}

// mute says that a Close has returned.
func (r *ear) mute() {
	if r.calls.Load() != 0 {
		r.e.Errorf("Close returned while a call was under way")
	}
	r.closed.Store(true)
}

// until waits for ok, which is called with r.mu held after each event.
func (r *ear) until(what string, ok func() bool) {
	r.e.Helper()
	if !r.untilAsync(what, ok) {
		r.e.FailNow()
	}
}

// untilAsync is until for goroutines other than the test's; false when the test has failed.
func (r *ear) untilAsync(what string, ok func() bool) bool {
	r.e.Helper()
	late := time.NewTimer(r.e.patience)
	defer late.Stop()
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		r.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-late.C:
			r.e.Errorf("waited for %s in vain; heard:%s", what, r)
			return false
		}
	}
}

// await waits for a signal of the feed that covers c.
func (r *ear) await(n feed.Name, c feed.Cursor) {
	r.e.Helper()
	if !r.awaitAsync(n, c) {
		r.e.FailNow()
	}
}

// awaitAsync is await for goroutines other than the test's; false when the test has failed.
func (r *ear) awaitAsync(n feed.Name, c feed.Cursor) bool {
	r.e.Helper()
	return r.untilAsync(fmt.Sprintf("%s at %s", n, text(bus.At(c))), func() bool { return r.newest[n].Covers(c) })
}

// awaitCount waits for so many signals of the feed.
func (r *ear) awaitCount(n feed.Name, count int) {
	r.e.Helper()
	r.until(fmt.Sprintf("%d signals of %s", count, n), func() bool { return len(r.ofLocked(n)) >= count })
}

func (r *ear) awaitAlive(alive bool) {
	r.e.Helper()
	r.until(fmt.Sprintf("alive(%t)", alive), func() bool {
		for _, e := range slices.Backward(r.events) {
			if e.name == "" {
				return e.alive == alive
			}
		}
		return false
	})
}

// all is everything heard so far, but for fences.
func (r *ear) all() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []event
	for _, v := range r.events {
		if !isFence(v.name) {
			all = append(all, v)
		}
	}
	return all
}

// of is every signal of the feed so far.
func (r *ear) of(n feed.Name) []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ofLocked(n)
}

func (r *ear) ofLocked(n feed.Name) []event {
	var of []event
	for _, v := range r.events {
		if v.name == n {
			of = append(of, v)
		}
	}
	return of
}

// want compares the feed's signals so far with what they should be.
func (r *ear) want(n feed.Name, want ...feed.Cursor) {
	r.e.Helper()
	got := r.of(n)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = got[i].head == bus.At(want[i])
	}
	if !ok {
		r.e.Errorf("%s was signalled %v, want %v", n, got, want)
	}
}

// String is the last of what was heard.
func (r *ear) String() string {
	all := r.all()
	var s strings.Builder
	if skip := len(all) - 20; skip > 0 {
		fmt.Fprintf(&s, " (%d more)", skip)
		all = all[skip:]
	}
	for _, v := range all {
		fmt.Fprintf(&s, " %s;", v)
	}
	return s.String()
}
