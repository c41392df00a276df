package audience

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// place is a node with feeds that can be changed.
type place struct {
	*Audience

	mu    sync.Mutex
	feeds map[feed.Name]int
}

func (p *place) set(feeds map[feed.Name]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feeds = feeds
}

func newPlace(b *membus.Bus, name string, feeds map[feed.Name]int) *place {
	p := &place{feeds: feeds}
	p.Audience = New(Options{
		Bus: b, Node: name, Every: 5 * time.Second,
		Large: func() map[feed.Name]int {
			p.mu.Lock()
			defer p.mu.Unlock()
			return maps.Clone(p.feeds)
		},
		Target: func(n feed.Name) int {
			if n == "untargeted" {
				return 0
			}
			return 1000
		},
	})
	p.Start()
	return p
}

func (p *place) want(t *testing.T, name feed.Name, local int, want time.Duration) {
	t.Helper()
	if got := p.Spread(name, local); got != want {
		t.Errorf("%s with %d here is spread over %s; want %s", name, local, got, want)
	}
}

func TestTheAudienceOfAllNodesCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membus.New(membus.Options{})
		defer b.Close()
		one := newPlace(b, "one", nil)
		defer one.Close()
		one.want(t, "prices", 500, 500*time.Millisecond)
		one.want(t, "prices", 99, 0) // nobody would notice
		one.want(t, "untargeted", 1_000_000, 0)
		one.want(t, "prices", 1_000_000, time.Minute)

		many := map[feed.Name]int{"prices": 1500, "untargeted": 10_000}
		for i := range 950 { // several messages
			many[feed.Name(fmt.Sprintf("some:%d", i))] = 200 + i
		}
		two, three := newPlace(b, "two", many), newPlace(b, "three", map[feed.Name]int{"prices": 300})
		defer three.Close()
		time.Sleep(7 * time.Second)
		synctest.Wait()
		one.want(t, "prices", 200, 2*time.Second)
		one.want(t, "some:0", 0, 200*time.Millisecond)
		one.want(t, "some:949", 1, 1150*time.Millisecond)
		one.want(t, "untargeted", 0, 0)
		two.want(t, "prices", 1500, 1800*time.Millisecond)

		three.set(nil) // told once
		time.Sleep(7 * time.Second)
		synctest.Wait()
		one.want(t, "prices", 200, 1700*time.Millisecond)
		two.Close() // without a word
		time.Sleep(20 * time.Second)
		synctest.Wait()
		one.want(t, "prices", 200, 200*time.Millisecond)
		if len(one.nodes) != 0 {
			t.Errorf("%d nodes that are gone are kept", len(one.nodes))
		}
	})
}

func TestARoundThatCameInPartCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membus.New(membus.Options{})
		defer b.Close()
		one := newPlace(b, "one", nil)
		defer one.Close()
		for _, text := range []string{
			`{"node":"two","round":1,"parts":1,"feeds":{"a":1000}}`,
			`{"node":"two","round":1,"parts":1,"feeds":{"a":7000}}`, // twice
			`{"node":"zero","round":0,"parts":1,"feeds":{"a":9000}}`,
			`{"node":"two","round":2,"parts":2,"feeds":{"a":5000}}`, // the other half is lost
			`{"node":"one","round":9,"parts":1,"feeds":{"a":9000}}`, // its own
			`{"node":"three","round":1,"parts":1,"feeds":{"a":-9000}}`,
			`{"node":"","round":1,"parts":1,"feeds":{"a":9000}}`,
			`{"node":"four","round":1,"parts":0,"feeds":{"a":9000}}`,
			`nonsense`,
		} {
			if err := b.Broadcast(t.Context(), topic, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		one.want(t, "a", 0, time.Second)
	})
}

func TestMaliciousNodesAreBounded(t *testing.T) {
	a := New(Options{Node: "one", Every: time.Hour, Target: func(feed.Name) int { return 1 }})
	for i := range 2 * nodesAtMost {
		a.Hear(fmt.Appendf(nil, `{"node":"n%d","round":1,"parts":1,"feeds":{"a":1}}`, i))
	}
	for i := range 2 * feedsAtMost {
		a.Hear(fmt.Appendf(nil, `{"node":"n1","round":2,"parts":1000000,"feeds":{"a%d":1}}`, i))
	}
	if len(a.nodes) > nodesAtMost || len(a.nodes["n1"].next) > feedsAtMost {
		t.Errorf("%d nodes and %d feeds are kept", len(a.nodes), len(a.nodes["n1"].next))
	}
}
