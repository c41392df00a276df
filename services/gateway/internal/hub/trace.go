package hub

import (
	"sync"
	"sync/atomic"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Trace is the way of one signal through this process, which is part of a larger trace.
type Trace interface {
	// Text is what clients are told, so that what they do about the signal becomes part of it; at most [bus.TraceBytes], and the same
	// for all.
	Text() string
	// End says that the last follower, of so many, has been told; or that a newer head has overtaken the signal before.
	End(followers int, overtaken bool)
}

// traces are the signals under way that are traced: few, or none, so that who has none pays one look for it.
//
// A trace begins with its signal, and ends with the last shard's pass that tells of the feed, or with a newer head. Who is told
// later, because it was slow, is told the head alone.
type traces struct {
	count atomic.Int32 // of current

	mu sync.Mutex // a leaf
	// Guarded by mu; written with Hub.mu held as well.
	current map[*entry]*underWay
}

type underWay struct {
	// Static.
	head      bus.Head
	trace     Trace
	followers int

	left int // passes; guarded by Hub.mu
}

// tracedFollower is the hub as the bus sees it when it wants to know of traces.
type tracedFollower struct{ *follower }

var _ bus.TraceFollower = tracedFollower{}

// TracedSignal is Signal for one whose way is to be followed.
func (f tracedFollower) TracedSignal(name feed.Name, head bus.Head, trace string) {
	h := (*Hub)(f.follower)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signals++
	e := h.feeds[name]
	if e == nil || !e.advanceLocked(head) {
		return
	}
	h.overtakeLocked(e)
	t := &underWay{head: head, trace: h.opt.Trace(name, head, trace)}
	if e.listening() {
		t.followers, t.left = e.countLocked(), e.shardsLocked()
	}
	if t.left == 0 {
		t.trace.End(0, false)
		return
	}
	h.traces.set(e, t) // before anybody is told
	h.tellLocked(e)
}

// countLocked is how many follow the feed, shardsLocked on how many shards.
func (e *entry) countLocked() int {
	switch {
	case e.crowd != nil:
		return e.crowd.count
	case e.one != nil:
		return 1
	}
	return 0
}

func (e *entry) shardsLocked() (n int) {
	if e.crowd == nil {
		return e.countLocked()
	}
	for i := range e.crowd.rows {
		if len(e.crowd.rows[i].follows) > 0 || e.crowd.rows[i].pass != nil {
			n++
		}
	}
	return n
}

// overtakeLocked ends the trace of a head that is not the newest any more.
func (h *Hub) overtakeLocked(e *entry) {
	if t := h.traces.take(e); t != nil {
		t.trace.End(t.followers, true)
	}
}

// toldLocked counts a shard's pass that has told of the feed's newest head.
func (h *Hub) toldLocked(e *entry) {
	t := h.traces.of(e)
	if t == nil {
		return
	}
	if t.left--; t.left <= 0 {
		h.traces.take(e)
		t.trace.End(t.followers, false)
	}
}

// of is the feed's; nil: it has none.
func (t *traces) of(e *entry) *underWay {
	if t.count.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current[e]
}

// text is what clients are told with the feed's head; "": nothing.
func (t *traces) text(e *entry, head bus.Head) string {
	if u := t.of(e); u != nil && u.head == head {
		return u.trace.Text()
	}
	return ""
}

func (t *traces) set(e *entry, u *underWay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		t.current = make(map[*entry]*underWay)
	}
	t.current[e] = u
	t.count.Store(int32(len(t.current)))
}

// take removes the feed's; nil: it has none.
func (t *traces) take(e *entry) *underWay {
	if t.count.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.current[e]
	delete(t.current, e)
	t.count.Store(int32(len(t.current)))
	return u
}

// endAll ends what is left when the hub closes.
func (t *traces) endAll() {
	t.mu.Lock()
	left := t.current
	t.current = nil
	t.count.Store(0)
	t.mu.Unlock()
	for _, u := range left {
		u.trace.End(u.followers, false)
	}
}
