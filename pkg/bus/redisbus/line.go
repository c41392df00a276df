package redisbus

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// line is one connection's worth of feeds, over all lives of the connection. Only its run goroutine and those of the life
// that it waits for touch Redis.
type line struct {
	// static
	bus  *Bus
	own  string        // the channel of this line alone
	wake chan struct{} // holds one: there is something to subscribe to or to unsubscribe from

	heard  atomic.Int64 // when something last came, or this life began, as Bus.now tells it
	synced atomic.Bool  // this life is subscribed to all that was followed when it began, and has read the heads
	good   atomic.Int64 // when something last came while synced
	lag    lag

	// guarded by Bus.mu
	life      *life // nil: there is none
	feeds     map[feed.Name]*state
	pending   []*joining
	leaving   []feed.Name   // feeds that may have lost their last follower
	unwritten []string      // other channels to subscribe to
	rounds    []*round      // written, not confirmed yet, oldest first
	confirmed []*round      // their heads aren't read yet
	reads     chan struct{} // holds one: confirmed has grown
	number    uint32        // of the last round
	wanted    bool          // questions come on this line
}

// state is what the bus holds of one feed that is followed, or of which the channel has still to be left. Guarded by Bus.mu.
type state struct {
	delivery.Feed
	round uint32 // the last round that it was in
	// untold: the head was read for a new follower, and its signal is still to come for the others.
	untold bool
}

// joining is one line's part of a call of Follow.
type joining struct {
	call    *call
	follows []*delivery.Follow
}

// call is something that waits for rounds of several lines.
type call struct {
	done chan struct{}

	// guarded by Bus.mu
	left int
	err  error // static once done is closed
}

func (c *call) finishLocked(err error) {
	if c.err == nil {
		c.err = err
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// round is channels that are subscribed to together, and whose heads are read together when all are confirmed.
type round struct {
	joins []*joining
	names []feed.Name
	other []string // channels that have no heads
	left  int      // confirmations still to come
	whole bool     // all that the line follows: followers are told what has changed
	first bool     // of a life: when it's done, the line is synced
	since time.Time
}

func newLine(b *Bus, id string) *line {
	return &line{
		bus: b, own: in(b.keys.node, id),
		wake: make(chan struct{}, 1), reads: make(chan struct{}, 1), feeds: make(map[feed.Name]*state),
	}
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// run gives the line one life after the other until the bus is closed.
func (l *line) run() {
	b := l.bus
	for failures := 0; b.ctx.Err() == nil; failures++ {
		begin := time.Now()
		err := l.live()
		b.mu.Lock()
		l.failLocked(b.unavailable("follow feeds", err))
		b.mu.Unlock()
		if time.Since(begin) > b.opts.LostAfter {
			failures = 0
		}
		if b.ctx.Err() == nil {
			level := slog.LevelDebug
			if failures == tellAfter && l == b.lines[0] && b.reachable.Load() { // commands work, so nobody else tells
				level = slog.LevelWarn
			}
			b.opts.Logger.Log(b.ctx, level, "a connection for signals has ended", "error", err, "lived", time.Since(begin))
		}
		pause := min(reconnectAtFirst<<min(failures, 10), reconnectAtMostEach)
		sleep(b.ctx, pause/2+rand.N(pause/2))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// failLocked ends a life for those who waited for it.
func (l *line) failLocked(err error) {
	l.synced.Store(false)
	l.life = nil
	var joins []*joining
	for _, r := range slices.Concat(l.rounds, l.confirmed) {
		joins = append(joins, r.joins...)
	}
	for _, j := range append(joins, l.pending...) {
		j.call.finishLocked(err)
	}
	l.rounds, l.confirmed, l.pending, l.unwritten = nil, nil, nil, nil
}

// live connects, subscribes to everything, and keeps at it until the connection is gone.
func (l *line) live() error {
	b := l.bus
	lf := newLife(b.ctx, b.client)
	var running sync.WaitGroup
	defer running.Wait()
	defer func() { _ = lf.pubsub.Close() }()
	defer lf.kill(nil)
	r := l.begin(lf)
	if err := lf.pubsub.Subscribe(lf.ctx, l.own); err != nil { // connects
		return err
	}
	running.Go(func() { l.receive(lf) })
	running.Go(func() { l.readHeads(lf) })
	if err := l.write(lf, r.other[1:], r.names, nil); err != nil {
		return err
	}
	for {
		select {
		case <-l.wake:
		case <-lf.ctx.Done():
			return context.Cause(lf.ctx)
		}
		for {
			r, leave := l.next()
			if r == nil && len(leave) == 0 {
				break
			}
			if r == nil {
				r = &round{}
			}
			if err := l.write(lf, r.other, r.names, leave); err != nil {
				return err
			}
		}
	}
}

// begin makes the first round of a life: everything.
func (l *line) begin(lf *life) *round {
	b := l.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	l.life = lf
	l.heard.Store(b.now())
	l.number++
	r := &round{joins: l.pending, other: []string{l.own}, whole: true, first: true, since: now}
	if l.wanted = l == b.lines[0] && b.answerers > 0; l.wanted {
		r.other = append(r.other, b.keys.wanted)
	}
	if l == b.lines[0] {
		r.other = append(r.other, b.keys.said)
	}
	l.pending, l.leaving, l.unwritten = nil, nil, nil
	for name, st := range l.feeds {
		if !st.InUse() {
			delete(l.feeds, name)
			continue
		}
		st.round = l.number
		r.names = append(r.names, name)
	}
	r.left = len(r.names) + len(r.other)
	l.rounds = append(l.rounds, r)
	return r
}

// next makes a round of what is waiting to be written; nil: nothing is to be subscribed to. leave is what is to be
// unsubscribed from.
func (l *line) next() (r *round, leave []string) {
	b := l.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.wanted && b.answerers == 0 {
		l.wanted = false
		leave = append(leave, b.keys.wanted)
	}
	for _, name := range l.leaving {
		if st := l.feeds[name]; st != nil && !st.InUse() {
			delete(l.feeds, name)
			leave = append(leave, in(b.keys.signal, string(name)))
		}
	}
	l.leaving = nil
	// One round at a time: what comes meanwhile goes into the next one together.
	if len(l.rounds) > 0 || len(l.pending) == 0 && len(l.unwritten) == 0 {
		return nil, leave
	}
	l.number++
	r = &round{joins: l.pending, other: l.unwritten, since: time.Now()}
	for _, j := range l.pending {
		for _, f := range j.follows {
			// A follow that has been dropped since may have lost its state; what isn't subscribed to needs no confirmation.
			if st := l.feeds[f.Feed.Name]; st != nil && st.round != l.number {
				st.round = l.number
				r.names = append(r.names, st.Name)
			}
		}
	}
	l.pending, l.unwritten = nil, nil
	if r.left = len(r.names) + len(r.other); r.left == 0 {
		for _, j := range r.joins {
			j.call.finishLocked(nil)
		}
		return nil, leave
	}
	l.rounds = append(l.rounds, r)
	return r, leave
}

func (l *line) write(lf *life, other []string, join []feed.Name, leave []string) error {
	for some := range slices.Chunk(leave, batch) {
		if err := lf.pubsub.Unsubscribe(lf.ctx, some...); err != nil {
			return err
		}
	}
	channels := slices.Clone(other)
	for _, name := range join {
		channels = append(channels, in(l.bus.keys.signal, string(name)))
	}
	for some := range slices.Chunk(channels, batch) {
		if err := lf.pubsub.Subscribe(lf.ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

// receive takes what comes until the life is over.
func (l *line) receive(lf *life) {
	for {
		got, err := lf.pubsub.Receive(lf.ctx)
		if err != nil {
			lf.kill(err)
			return
		}
		l.heardNow()
		switch m := got.(type) {
		case *redis.Message:
			l.message(m.Channel, m.Payload)
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				l.confirm()
			}
		}
	}
}

func (l *line) heardNow() {
	now := l.bus.now()
	l.heard.Store(now)
	if l.synced.Load() {
		l.good.Store(now)
	}
}

func (l *line) message(channel, payload string) {
	b := l.bus
	if name, ok := b.keys.signalled(channel); ok {
		if h, trace := parseSignal(payload); h.Known {
			b.mu.Lock()
			l.signalLocked(name, h, trace)
			b.mu.Unlock()
		}
		return
	}
	switch channel {
	case l.own:
		l.lag.came(payload, b.now())
		b.replied(payload)
	case b.keys.wanted:
		b.questioned(payload)
	case b.keys.said:
		b.said(payload)
	}
}

// signalLocked tells the feed's followers. A signal that is older than the head has been overtaken.
func (l *line) signalLocked(name feed.Name, h bus.Head, trace string) {
	st := l.feeds[name]
	if st == nil || st.Head.Newer(h) {
		return
	}
	st.Head, st.untold = h, false
	st.Traced(trace)
	st.Signal()
	l.bus.waiting.Come(name)
}

// confirm counts one confirmation. Redis confirms in the order of the commands, so it is the oldest round's.
func (l *line) confirm() {
	b := l.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.rounds) == 0 {
		return
	}
	r := l.rounds[0]
	if r.left--; r.left > 0 {
		return
	}
	// What comes from now on was published after the SUBSCRIBE of each of these.
	for _, j := range r.joins {
		for _, f := range j.follows {
			f.Attach()
		}
	}
	l.rounds = slices.Delete(l.rounds, 0, 1)
	l.confirmed = append(l.confirmed, r)
	poke(l.reads)
	poke(l.wake)
}
