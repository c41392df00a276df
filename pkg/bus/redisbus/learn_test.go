package redisbus

import (
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// heardOf is a Follower that passes signals on.
type heardOf chan bus.Head

func (c heardOf) Signal(_ feed.Name, h bus.Head) { c <- h }
func (heardOf) Alive(bool)                       {}

// TestAHeadLearntForOneIsNotKeptFromTheOthers: a head that was read for a new follower is on its way to the others as a
// signal; when the connection dies with it, they hear of it from the next one.
func TestAHeadLearntForOneIsNotKeptFromTheOthers(t *testing.T) {
	place := testkit.Redis(t)
	b, err := New(t.Context(), Options{URL: place.URL, Prefix: place.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	heard := make(heardOf, 10)
	for _, f := range []heardOf{heard, make(heardOf, 10)} {
		sub, err := b.Subscribe(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Follow(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	names, heads := []feed.Name{"a"}, []bus.Head{bus.At(feed.Cursor{Epoch: 1, Seq: 6})}
	l := b.line("a")
	l.learn(names, heads, false) // for another one that begins to follow it
	l.learn(names, heads, true)  // what a new connection begins with
	select {
	case h := <-heard:
		if h != heads[0] {
			t.Errorf("heard %v", h)
		}
	case <-time.After(10 * time.Second):
		t.Error("a follower was never told of a head that another one has learnt")
	}
}
