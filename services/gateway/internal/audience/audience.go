// Package audience knows how many follow the large feeds on all gateways, so that a signal can tell its readers to take their time.
//
//	every few seconds: this node's large feeds ─▶ bus ─▶ the other nodes
//	a signal: local followers + what the others said ─▶ Spread: how long to spread the pulls over
//
// Counts are hints: what is lost or late makes a spread shorter than it should be, and nothing else.
package audience

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	topic = "audience"
	// feedsAtOnce is how many feeds one message tells of, so that it fits; feedsAtMost is how many a node tells of.
	feedsAtOnce = 100
	feedsAtMost = 2000
	// nodesAtMost is how many nodes are heard.
	nodesAtMost = 1000
	// expireAfter is how many rounds a node's counts hold without a new one.
	expireAfter = 3
)

// Bounds of a spread. Below the least, nobody would notice.
const (
	leastSpread = 100 * time.Millisecond
	mostSpread  = time.Minute
)

// Options are all required.
type Options struct {
	Bus bus.Broadcaster
	// Node is this one, of no other name.
	Node string
	// Every is how often this node tells its counts.
	Every time.Duration
	// Large gives the followers of this node's large feeds.
	Large func() map[feed.Name]int
	// Target is how many pulls a second a feed's readers may cause; 0: any number.
	Target func(feed.Name) int
}

// Audience is one node's view. It is safe for concurrent use; its lock is a leaf.
type Audience struct {
	// static
	opt     Options
	end     context.CancelFunc
	deaf    func()
	running sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	nodes map[string]*node // the others
}

// node is what another one has said.
type node struct {
	counts map[feed.Name]int // of the last round that came whole
	heard  time.Time         // when it did
	// The round that is coming in.
	round uint64
	parts int // still to come
	next  map[feed.Name]int
}

// message is a part of a round.
type message struct {
	Node  string            `json:"node"`
	Round uint64            `json:"round"`
	Parts int               `json:"parts"`
	Feeds map[feed.Name]int `json:"feeds"`
}

// New makes an Audience that hears nothing yet.
func New(opt Options) *Audience {
	return &Audience{opt: opt, deaf: func() {}, end: func() {}, nodes: make(map[string]*node)}
}

// Start begins to tell and to hear. Close ends it.
func (a *Audience) Start() {
	ctx, end := context.WithCancel(context.Background())
	a.end = end
	a.deaf = a.opt.Bus.Listen(topic, a)
	a.running.Go(func() { a.run(ctx) })
}

// Close ends telling and hearing. Closing twice is fine.
func (a *Audience) Close() {
	a.end()
	a.deaf()
	a.running.Wait()
}

// Spread is how long the pulls after a signal of the feed are to be spread over; 0: not at all. local is how many follow it
// here.
func (a *Audience) Spread(name feed.Name, local int) time.Duration {
	target := a.opt.Target(name)
	if target <= 0 {
		return 0
	}
	spread := time.Duration(float64(local+a.elsewhere(name)) / float64(target) * float64(time.Second))
	if spread < leastSpread {
		return 0
	}
	return min(spread, mostSpread)
}

func (a *Audience) elsewhere(name feed.Name) (n int) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.nodes {
		if now.Sub(other.heard) < expireAfter*a.opt.Every {
			n += other.counts[name]
		}
	}
	return n
}

func (a *Audience) run(ctx context.Context) {
	for round, told := uint64(1), false; ; round++ {
		timer := time.NewTimer(a.opt.Every*8/10 + rand.N(a.opt.Every*4/10+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		a.forget()
		feeds := a.large()
		if len(feeds) > 0 || told { // that there are none any more is told once
			a.tell(ctx, round, feeds)
		}
		told = len(feeds) > 0
	}
}

type count struct {
	feed feed.Name
	n    int
}

// large lists this node's large feeds that a target is set for, the largest first.
func (a *Audience) large() []count {
	var all []count
	for name, n := range a.opt.Large() {
		if a.opt.Target(name) > 0 {
			all = append(all, count{name, n})
		}
	}
	slices.SortFunc(all, func(x, y count) int { return cmp.Compare(y.n, x.n) })
	return all[:min(len(all), feedsAtMost)]
}

// tell says it in parts. Those that are lost cost the round.
func (a *Audience) tell(ctx context.Context, round uint64, feeds []count) {
	parts := max(1, (len(feeds)+feedsAtOnce-1)/feedsAtOnce)
	for range parts {
		n := min(len(feeds), feedsAtOnce)
		m := message{Node: a.opt.Node, Round: round, Parts: parts, Feeds: make(map[feed.Name]int, n)}
		for _, c := range feeds[:n] {
			m.Feeds[c.feed] = c.n
		}
		feeds = feeds[n:]
		text, err := json.Marshal(m)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, a.opt.Every)
		err = a.opt.Bus.Broadcast(ctx, topic, text)
		cancel()
		if err != nil {
			return // the next round may come through
		}
	}
}

// forget lets go of nodes that have nothing to say any more.
func (a *Audience) forget() {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, n := range a.nodes {
		if now.Sub(n.heard) >= expireAfter*a.opt.Every {
			delete(a.nodes, name)
		}
	}
}

// Gap is nothing to make up for: the next round comes soon.
func (a *Audience) Gap() {}

// Hear takes what another node says.
func (a *Audience) Hear(text []byte) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil || m.Node == "" || m.Node == a.opt.Node || m.Parts < 1 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.nodes[m.Node]
	if n == nil {
		if len(a.nodes) >= nodesAtMost {
			return
		}
		n = &node{heard: time.Now()}
		a.nodes[m.Node] = n
	}
	if n.round != m.Round {
		n.round, n.parts, n.next = m.Round, m.Parts, make(map[feed.Name]int)
	}
	if n.next == nil { // the round is whole; a part has come twice
		return
	}
	for name, c := range m.Feeds {
		if c > 0 && len(n.next) < feedsAtMost {
			n.next[name] = c
		}
	}
	if n.parts--; n.parts == 0 {
		n.counts, n.heard, n.next = n.next, time.Now(), nil
	}
}
