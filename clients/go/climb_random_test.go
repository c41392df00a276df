package doorbell

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFollowEndsWithTheTruth has followers of all kinds on a feed to which everything happens that may, behind a cache that
// forgets, answers that lead too far, signals that skip, and faults. Whatever way each has gone, in the end all have what there is.
func TestFollowEndsWithTheTruth(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) { theTruth(t, f, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func theTruth(t *testing.T, f *fake, rnd *rand.Rand) {
	chaos := &chaos{cache: newFakeCache(f), rnd: rnd, origin: f}
	f.pageSize = []int{0, 2, 5}[rnd.IntN(3)]
	since := f.put("a", `0`)
	var all []*watch
	var networks []*network
	for n := range 5 {
		o := FollowOptions{Limit: []int{0, 0, 0, 1, 3}[n]}
		if n > 0 {
			o.Since = since
		}
		c, network := serve(t, chaos)
		at := cursor{}
		slow := time.Duration(n) * 300 * time.Millisecond
		w := startWatch(t, c, o, func(e Event) {
			if e.Kind == 0 {
				return // the error at the end
			}
			to, err := parseCursor(e.Cursor)
			if err != nil || to.compare(at) < 0 && e.Kind != Reset {
				t.Errorf("follower %d goes from %s back to %q, %v", n, at.text, e.Cursor, err)
			}
			at = to
			if e.Kind == CaughtUp {
				time.Sleep(slow)
			}
		})
		all, networks = append(all, w), append(networks, network)
	}
	for range 300 {
		chaos.happen(networks)
		time.Sleep(time.Duration(chaos.draw(150)) * time.Millisecond)
	}
	chaos.calm()
	f.broadcast(`{"degraded":false}`)
	f.put("last", `1`)
	time.Sleep(3 * time.Minute) // the longest rest that a follower takes, and a poll
	for n, w := range all {
		w.wantSame(f)
		if w.wantMode(Live); t.Failed() {
			t.Fatalf("follower %d", n)
		}
	}
	f.reads()
	time.Sleep(time.Hour)
	wantReads(t, f) // and nobody goes round in circles
}

// chaos is what stands between the followers and the feed.
type chaos struct {
	cache  *fakeCache
	origin *fake

	mu   sync.Mutex
	rnd  *rand.Rand // guarded by mu, as is over
	over bool
	keys int // of what happens alone
}

// draw is a random number below n; 0 when it is calm.
func (c *chaos) draw(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0
	}
	return c.rnd.IntN(n)
}

func (c *chaos) calm() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.origin.with(func() { c.origin.silent, c.origin.spread = false, 0 })
}

func (c *chaos) happen(networks []*network) {
	f := c.origin
	key := func() string { return fmt.Sprint("k", c.draw(12)) }
	value := func() []byte { c.keys++; return []byte(fmt.Sprint(c.keys)) }
	switch n := c.draw(100); {
	case n < 55:
		f.change(Change{Key: key(), Value: value()})
	case n < 62:
		f.del(key())
	case n < 72: // several in one; the signal names the last
		var changes []Change
		for range 1 + c.draw(6) {
			changes = append(changes, Change{Key: key(), Value: value(), Deleted: c.draw(4) == 0})
		}
		f.change(changes...)
	case n < 78:
		silent := c.draw(2) == 0 // signals that are combined, or lost
		f.with(func() { f.silent = silent })
	case n < 84: // some gateways skip, some repeat
		for _, s := range f.subscribers() {
			if head := f.head(); c.draw(2) == 0 {
				s.send(fmt.Sprintf(`{"changed":{%q:%q}}`, feedX, head))
			}
		}
	case n < 88:
		f.purge()
	case n < 90:
		f.mu.Lock()
		to := f.seq - 5
		f.mu.Unlock()
		f.trim(max(to, 0))
	case n < 91:
		f.drop()
	case n < 93:
		spread := time.Duration(c.draw(2)*c.draw(800)) * time.Millisecond
		f.with(func() { f.spread = spread })
	case n < 95:
		f.broadcast(fmt.Sprintf(`{"degraded":%v}`, c.draw(2) == 0))
	case n < 97:
		networks[c.draw(len(networks))].cut()
	default:
		c.cache.forget(func(string) bool { return c.draw(2) == 0 })
	}
}

func (c *chaos) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/feeds/") {
		time.Sleep(time.Duration(c.draw(400)) * time.Millisecond)
		switch c.draw(40) {
		case 1:
			w.Header().Set("Retry-After", "1")
			sendProblem(w, 503, "behind", nil)
			return
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			c.origin.put("beyond", `1`) // the answer leads further than it was asked to
		}
	}
	c.cache.ServeHTTP(w, r)
}
