// Package ratelimit bounds how much each client may ask for, across all nodes, without asking anybody on the way.
//
//	request ─▶ Take ─▶ the client's own slot in memory: allowed, or wait so long
//	                   │ has it spent a twentieth of its burst since the last report?
//	                   └─▶ (behind the scenes, batched) Redis adds up what all nodes report ─▶ the slot learns the sum
//
// It is GCRA: a client has a theoretical arrival time (TAT), which each request pushes into the future by what it costs, and is
// refused when that would be more than the burst ahead of now. What nodes let through before they have heard of each other
// puts the TAT further ahead, so it is paid back: over time a client gets the same however many nodes it asks.
//
// Memory is fixed: 24 bytes each for 2^18 pairs of client and class by default. When it is short of slots the client goes that has
// asked for least, which is forgiven what it has spent.
package ratelimit

import (
	"math"
	"sync"
	"time"
)

// Full is what a request costs; one that turns out cheaper gets the rest back.
const Full = 10

const (
	// Slots is how many pairs of client and class are kept count of, unless Options say otherwise.
	defaultSlots = 1 << 18

	shards = 64
	ways   = 8 // slots that one client may be in

	// reportAt is the part of its burst, 1/reportAt, that a client spends here before the others hear of it.
	reportAt = 20
	// unsentAtMost is how many tenths are kept for a later report, while Redis is away.
	unsentAtMost = 1 << 15
	// unit is the resolution of time in slots.
	unit = time.Microsecond
)

// Limit is how much one client may ask for. The zero Limit is none.
type Limit struct {
	// Name is the class's, as clients are told: "reads".
	Name string
	// PerSecond is how many requests a client may make in the long run, Burst at once.
	PerSecond float64
	Burst     int
}

// Class is the index of a Limit in Options.
type Class uint8

// Verdict is what becomes of a request. The zero Verdict: it is allowed.
type Verdict struct {
	Refused bool
	// After is when the next one would be allowed.
	After time.Duration
}

// limit is a Limit in units.
type limit struct {
	cost   int64 // of a tenth of a request
	burst  int64
	report int32 // tenths that are reported together
}

// slot is one client's in one class.
type slot struct {
	id     uint64
	tat    int64 // units since the limiter's start; at or before now: all of the burst is there
	unsent int32 // tenths spent and not yet reported; negative: given back after they were
	queued bool
	class  Class
}

type shard struct {
	mu    sync.Mutex
	slots []slot // guarded by mu; sets of ways
	_     [32]byte
}

// Limiter is safe for concurrent use.
type Limiter struct {
	// static
	limits []limit
	Limits []Limit
	start  time.Time
	sets   uint64 // in each shard; a power of two
	shards [shards]shard
	shared *shared // nil: this node is alone
}

// Options say what is limited. Limits of PerSecond 0 are none.
type Options struct {
	Limits []Limit
	// Slots is about how many pairs of client and class are kept count of; 0: 262,144 (6 MiB).
	Slots int
	// Shared adds up what several nodes let through. nil: each counts by itself.
	Shared *Redis
}

// New makes a limiter. Close ends what it has running.
func New(o Options) *Limiter {
	l := &Limiter{Limits: o.Limits, start: time.Now()}
	for _, one := range o.Limits {
		l.limits = append(l.limits, inUnits(one))
	}
	slots := o.Slots
	if slots <= 0 {
		slots = defaultSlots
	}
	l.sets = 1
	for int(l.sets)*shards*ways < slots {
		l.sets *= 2
	}
	for i := range l.shards {
		l.shards[i].slots = make([]slot, l.sets*ways)
	}
	if o.Shared != nil {
		l.shared = newShared(l, o.Shared)
	}
	return l
}

// Close ends reporting. Requests may still come. Closing twice is fine.
func (l *Limiter) Close() {
	if l.shared != nil {
		l.shared.close()
	}
}

// Sharing tells whether what other nodes let through counts as well: not where this one is alone, nor while Redis doesn't answer.
func (l *Limiter) Sharing() bool { return l.shared != nil && !l.shared.failing.Load() }

func inUnits(one Limit) limit {
	if one.PerSecond <= 0 || one.Burst <= 0 {
		return limit{}
	}
	cost := float64(time.Second/unit) / one.PerSecond / Full
	return limit{
		cost:   max(int64(math.Round(cost)), 1),
		burst:  max(int64(math.Round(cost*Full*float64(one.Burst))), 1),
		report: int32(min(max(one.Burst*Full/reportAt, Full), unsentAtMost)),
	}
}

func (l *Limiter) now() int64 { return int64(time.Since(l.start) / unit) }

// place gives the shard of a client and the first slot of its set.
func (l *Limiter) place(id uint64) (*shard, uint64) {
	// The id is a hash: its ends are as good as any.
	return &l.shards[id%shards], (id >> 8 & (l.sets - 1)) * ways
}

// find gives the client's slot; without one, that of who has spent least. The shard's lock is held.
func (s *shard) find(first, id uint64, class Class) *slot {
	set := s.slots[first : first+ways]
	least := &set[0]
	for i := range set {
		one := &set[i]
		if one.id == id && one.class == class {
			return one
		}
		if one.tat < least.tat {
			least = one
		}
	}
	*least = slot{id: id, class: class}
	return least
}

// Take spends a whole request of the client's, whose id is a hash, if there is enough.
func (l *Limiter) Take(class Class, id uint64) Verdict {
	limit := &l.limits[class]
	if limit.cost == 0 {
		return Verdict{}
	}
	now := l.now()
	s, first := l.place(id)
	s.mu.Lock()
	one := s.find(first, id, class)
	tat := max(one.tat, now) + Full*limit.cost
	if over := tat - now - limit.burst; over > 0 {
		s.mu.Unlock()
		return Verdict{Refused: true, After: time.Duration(over) * unit}
	}
	one.tat = tat
	report := l.spendLocked(one, limit)
	s.mu.Unlock()
	if report {
		l.shared.report(id, class)
	}
	return Verdict{}
}

// spendLocked counts what is to be reported, and tells whether it is time.
func (l *Limiter) spendLocked(one *slot, limit *limit) bool {
	if l.shared == nil {
		return false
	}
	one.unsent = min(one.unsent+Full, unsentAtMost)
	if one.queued || one.unsent < limit.report {
		return false
	}
	one.queued = true
	return true
}

// Refund gives tenths of a request back, which Take has just spent. Those that have been reported already are taken off what
// the client spends next.
func (l *Limiter) Refund(class Class, id uint64, tenths int64) {
	limit := &l.limits[class]
	if limit.cost == 0 {
		return
	}
	s, first := l.place(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(first, id, class)
	one.tat -= tenths * limit.cost
	if l.shared != nil {
		one.unsent = max(one.unsent-int32(tenths), -unsentAtMost) // at most Full
	}
}
