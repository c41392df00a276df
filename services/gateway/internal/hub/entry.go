package hub

import (
	"container/list"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// entry is a feed that somebody follows, or did until a moment ago.
type entry struct {
	// Static.
	name   feed.Name // shares its bytes with Hub.feeds
	number uint32    // the feed's in this process

	// Guarded by Hub.mu. Most feeds of a gateway may have a single follower, so that one has no crowd.
	phase phase
	one   *follow
	crowd *crowd
	idle  *list.Element // in Hub.idle, when live without clients

	// Guarded by mu, and written with Hub.mu held as well.
	mu   sync.Mutex
	head bus.Head // the newest that the bus has told
	live bool     // whether the bus subscription is
	// spread is how long the pulls after the newest head are to be spread over, in ms; 0: not at all.
	spread uint32
}

// idler is what Hub.idle lists.
type idler struct {
	entry *entry
	since time.Time
}

// crowd is many followers of one feed, by shard.
type crowd struct {
	count int
	rows  []row
}

// row is a feed's followers on one shard, in no order.
type row struct {
	follows []*follow
	pass    *pass // nil: none is under way
}

func (e *entry) setPhaseLocked(p phase) {
	e.phase = p
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live = p == live || p == leaving
}

// listening tells whether the bus subscription is live.
func (e *entry) listening() bool { return e.phase == live || e.phase == leaving }

// current is the newest head that may be told: while the subscription isn't live it could be overtaken unheard.
func (e *entry) current() bus.Head {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.live {
		return bus.Head{}
	}
	return e.head
}

// advanceLocked moves the head, and tells whether it was older.
func (e *entry) advanceLocked(head bus.Head) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !head.Newer(e.head) {
		return false
	}
	e.head = head
	return true
}

func (e *entry) followedLocked() bool { return e.one != nil || e.crowd != nil }

func (e *entry) addLocked(f *follow, shards int) {
	switch {
	case e.crowd != nil:
	case e.one == nil:
		e.one = f
		return
	default:
		e.crowd = &crowd{rows: make([]row, shards)}
		e.crowd.add(e.one)
		e.one = nil
	}
	e.crowd.add(f)
}

func (e *entry) removeLocked(f *follow) {
	if e.one == f {
		e.one = nil
		return
	}
	if e.crowd.remove(f); e.crowd.count == 0 {
		e.crowd = nil
		e.mu.Lock()
		e.spread = 0
		e.mu.Unlock()
	}
}

func (c *crowd) row(f *follow) *row { return &c.rows[f.client.out.Shard().Index()] }

func (c *crowd) add(f *follow) {
	r := c.row(f)
	f.at = int32(len(r.follows))
	r.follows = append(r.follows, f)
	c.count++
}

// remove moves the last one into the gap. A pass goes from the end to the beginning, so that it misses nobody by that.
func (c *crowd) remove(f *follow) {
	r := c.row(f)
	last := len(r.follows) - 1
	moved := r.follows[last]
	r.follows[f.at], moved.at = moved, f.at
	r.follows[last] = nil
	if r.follows = r.follows[:last]; cap(r.follows) > 64 && last < cap(r.follows)/4 {
		r.follows = append(make([]*follow, 0, last*2), r.follows...)
	}
	c.count--
}

// tellLocked has the feed's followers told of its head, by their shards.
func (h *Hub) tellLocked(e *entry) {
	switch {
	case !e.listening():
	case e.one != nil:
		if f := e.one; !f.queued {
			f.queued = true
			f.client.out.Shard().Push(f)
		}
	case e.crowd != nil:
		h.spreadLocked(e)
		for i := range e.crowd.rows {
			h.startPassLocked(e, &e.crowd.rows[i], h.opt.Shards.At(i))
		}
	}
}

// spreadLocked finds out how long the pulls after the head are to be spread over.
func (h *Hub) spreadLocked(e *entry) {
	if h.opt.Spread == nil {
		return
	}
	spread := uint32(h.opt.Spread(e.name, e.crowd.count).Milliseconds())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spread = spread
}

// spreadMillis is how long the pulls after the newest head are to be spread over.
func (e *entry) spreadMillis() uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spread
}

// Run tells a feed's only follower.
func (f *follow) Run() {
	h := f.client.hub
	h.mu.Lock()
	f.queued = false
	h.mu.Unlock()
	head := f.entry.current()
	p := prepared{head: FeedHead{
		Feed: f.entry.name, Number: f.entry.number, Head: head, Trace: h.traces.text(f.entry, head),
	}}
	h.tell([]*follow{f}, &p)
	if p.head.Trace != "" {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.traces.text(f.entry, head) != "" { // otherwise a newer one has come, which is told next
			h.toldLocked(f.entry)
		}
	}
}

// pass is a shard's way through the followers of one feed. All of it is guarded by Hub.mu.
type pass struct {
	hub   *Hub
	entry *entry
	row   *row
	shard *shard.Shard
	since time.Time // the signal
	left  int       // row.follows[:left] are still to be told
	again bool      // the head has moved since some were told
}

var _ shard.Job = (*pass)(nil)

// stride is how many a pass tells before other work of the shard has its turn.
const stride = 128

// startPassLocked begins a pass, or has the one under way go round once more. One that is behind tells the newest only.
func (h *Hub) startPassLocked(e *entry, r *row, s *shard.Shard) {
	switch {
	case r.pass != nil:
		if r.pass.again { // once round for both
			h.coalesced += uint64(len(r.follows))
		}
		r.pass.again = true
	case len(r.follows) > 0:
		r.pass = &pass{hub: h, entry: e, row: r, shard: s, since: time.Now(), left: len(r.follows)}
		s.Push(r.pass)
	}
}

// Run tells some followers, those behind first.
func (p *pass) Run() {
	var some [stride]*follow
	n := p.take(some[:])
	head := p.entry.current()
	news := prepared{head: FeedHead{
		Feed: p.entry.name, Number: p.entry.number, Head: head, Spread: p.entry.spreadMillis(),
		Trace: p.hub.traces.text(p.entry, head),
	}}
	p.hub.tell(some[:n], &news)
	p.goOn()
}

// take gives the next ones. The head is read after that, so whoever subscribes later has it in the answer.
func (p *pass) take(some []*follow) int {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.left = min(p.left, len(p.row.follows))
	from := max(0, p.left-len(some))
	n := copy(some, p.row.follows[from:p.left])
	p.left = from
	return n
}

func (p *pass) goOn() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.left == 0 {
		if p.hub.opt.Flushed != nil {
			p.hub.opt.Flushed(time.Since(p.since))
		}
		if !p.again {
			p.row.pass = nil
			p.hub.toldLocked(p.entry)
			return
		}
		p.again, p.left, p.since = false, len(p.row.follows), time.Now()
	}
	p.shard.Push(p)
}
