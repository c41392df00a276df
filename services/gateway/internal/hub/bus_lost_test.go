package hub_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// TestAnswerInTheMidstOfTheBusComingBack: a client that subscribed while the bus was lost asks for its answer just when the
// others are being told that the bus is back. It must learn the head, in the answer or right after it.
func TestAnswerInTheMidstOfTheBusComingBack(t *testing.T) {
	for range 20 {
		b := newFakeBus(t)
		pool := shards(t, 1)
		h, err := hub.New(hub.Options{
			Shards: pool, Bus: busOf{b}, Logger: slog.New(slog.DiscardHandler), MaxFeeds: 100,
			FollowTimeout: time.Second, RetryMin: time.Millisecond, RetryMax: time.Millisecond, Linger: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		b.set("x", 7)
		var late *hub.Client
		knows := false
		drain := func(c *hub.Client) {
			for ev := (hub.Event{Kind: hub.Answer}); ev.Kind != hub.Nothing; {
				c.Next(&ev)
				for _, told := range ev.Heads {
					knows = knows || (c == late && told.Head.Known)
				}
			}
		}
		first := pull(t, h, pool, func() {}) // so that x is live
		if err := first.Subscribe([]feed.Name{"x"}, "first", 0); err != nil {
			t.Fatal(err)
		}
		for ev := (hub.Event{}); ev.Kind == hub.Nothing; {
			first.Next(&ev)
		}
		coming := false
		pull(t, h, pool, func() {
			if coming {
				coming = false
				done := make(chan struct{})
				go func() { // the late client's writer, which happens to run just now
					defer close(done)
					drain(late)
				}()
				<-done
			}
		})
		b.lose()
		late = pull(t, h, pool, func() {})
		if err := late.Subscribe([]feed.Name{"x"}, "late", 0); err != nil {
			t.Fatal(err)
		}
		coming = true
		b.find()
		drain(late)
		h.Close()
		if !knows {
			t.Fatal("the client was told null, and that all is well, and never the head")
		}
	}
}
