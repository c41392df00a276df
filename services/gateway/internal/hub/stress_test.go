package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// TestStress: clients come, go, follow and unfollow at random on a bus that is slow, fails and is lost at random. The
// fake bus watches over the contract; each client watches that heads never go back and come only while subscribed;
// and once all is quiet each has been told the head.
func TestStress(t *testing.T) {
	for seed := range uint64(8) {
		run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) { stress(t, b, h, seed) })
	}
}

const stressFeeds = 30

func stressName(i int) feed.Name { return feed.Name(fmt.Sprintf("f%d", i)) }

func stress(t *testing.T, b *fakeBus, h *hub.Hub, seed uint64) {
	b.when(func(_ context.Context, call string, _ []feed.Name) error {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		if call == "follow" && rand.IntN(4) == 0 {
			return errors.New("not now")
		}
		return nil
	})
	var all sync.WaitGroup
	var clients [8]*witness
	for i := range clients {
		clients[i] = newWitness(t, b, h)
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() { clients[i].act(random) })
	}
	all.Go(func() { // the writer, and the bus's troubles
		random := rand.New(rand.NewPCG(seed, 99))
		for n := range int64(2000) {
			b.set(stressName(random.IntN(stressFeeds)), n+1)
			switch n % 400 {
			case 100:
				b.lose()
			case 150:
				b.find()
			}
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		}
	})
	all.Wait()
	time.Sleep(5 * time.Minute)

	wanted := map[feed.Name]bool{}
	for i, w := range clients {
		w.listen()
		for name := range w.follows {
			wanted[name] = true
			if w.heads[name] != b.head(name) {
				t.Errorf("seed %d, client %d: %s is %v, the bus says %v", seed, i, name, w.heads[name], b.head(name))
			}
		}
		if w.alive != true {
			t.Errorf("seed %d, client %d: not told that the bus is back", seed, i)
		}
	}
	if len(wanted) != b.following() || h.Stats().Feeds != len(wanted) {
		t.Errorf("seed %d: %d feeds are wanted, %d followed, %d kept", seed, len(wanted), b.following(), h.Stats().Feeds)
	}
	for _, w := range clients {
		w.Close()
	}
}

// witness is a client that checks what it is told.
type witness struct {
	*hub.Client
	t       *testing.T
	asked   int
	follows map[feed.Name]int // the command that subscribed last
	heads   map[feed.Name]bus.Head
	most    map[feed.Name]bus.Head // heads without the nulls in between
	open    map[feed.Name]int      // the subscribe that was answered last
	alive   bool
}

func newWitness(t *testing.T, b *fakeBus, h *hub.Hub) *witness {
	w := &witness{
		t: t, alive: true,
		follows: map[feed.Name]int{}, heads: map[feed.Name]bus.Head{}, most: map[feed.Name]bus.Head{}, open: map[feed.Name]int{},
	}
	w.Client = pull(t, h, b.shards, func() {})
	return w
}

func (w *witness) act(random *rand.Rand) {
	for range 300 {
		var names []feed.Name
		for i := range stressFeeds {
			if random.IntN(10) == 0 {
				names = append(names, stressName(i))
			}
		}
		if !w.WaitRoom() {
			w.t.Error("closed")
			return
		}
		w.asked++
		if random.IntN(2) == 0 {
			for _, n := range names {
				w.follows[n] = w.asked
			}
			if err := w.Subscribe(names, w.asked, 0); err != nil {
				w.t.Error(err)
			}
		} else {
			w.Unsubscribe(names)
			for _, n := range names {
				delete(w.follows, n)
			}
		}
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		if random.IntN(3) == 0 {
			w.listen()
		}
	}
}

func (w *witness) listen() {
	for {
		var ev hub.Event
		w.Next(&ev)
		switch ev.Kind {
		case hub.Nothing:
			return
		case hub.Liveness:
			if ev.Alive == w.alive {
				w.t.Errorf("told twice: alive %v", ev.Alive)
			}
			w.alive = ev.Alive
		case hub.Answer:
			for _, h := range ev.Heads {
				w.open[h.Feed] = ev.Tag.(int)
				w.see(h)
			}
		case hub.Changed:
			for _, h := range ev.Heads {
				if w.open[h.Feed] == 0 || w.follows[h.Feed] == 0 {
					w.t.Errorf("%s changed, which isn't followed", h.Feed)
				}
				if !h.Head.Newer(w.heads[h.Feed]) {
					w.t.Errorf("%s changed to %v, which is no news after %v", h.Feed, h.Head, w.heads[h.Feed])
				}
				w.see(h)
			}
		}
	}
}

// see wants heads to go forward; null is not a head, and forgets nothing.
func (w *witness) see(h hub.FeedHead) {
	w.heads[h.Feed] = h.Head
	if !h.Head.Known {
		return
	}
	if w.most[h.Feed].Newer(h.Head) {
		w.t.Errorf("%s went back from %v to %v", h.Feed, w.most[h.Feed], h.Head)
	}
	w.most[h.Feed] = h.Head
}
