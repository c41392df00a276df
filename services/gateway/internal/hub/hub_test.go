package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

func TestOneFollowPerFeedAndCommand(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.set("a", 1)
		one, two := listen(t, b, h), listen(t, b, h)
		one.subscribe("x", "a", "b", "c")
		two.subscribe("y", "b")
		one.expect("x[a=1,b=null,c=null]")
		two.expect("y[b=null]")
		b.expect("follow a", "follow b", "follow c")
		if got := b.batches["follow"]; !slices.Equal(got, []int{3}) {
			t.Errorf("batches of %v", got)
		}
		b.set("b", 1)
		one.expect("changed[b=1]")
		two.expect("changed[b=1]")
	})
}

func TestLinger(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		c.subscribe("x", "a")
		c.expect("x[a=null]")
		b.expect("follow a")
		for range 5 {
			c.Unsubscribe([]feed.Name{"a"})
			time.Sleep(linger - 1)
			b.set("a", time.Now().UnixNano())
			c.subscribe("y", "a")
			c.expect(fmt.Sprintf("y[a=%d]", b.head("a").Cursor.Seq))
		}
		b.expect()
		c.Close()
		time.Sleep(linger - 1)
		b.expect()
		time.Sleep(time.Nanosecond)
		b.expect("unfollow a")
		if s := h.Stats(); s.Feeds != 0 || s.Clients != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

func TestLingerIsBounded(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		for i := range 12 {
			var names []feed.Name
			for j := range 1000 {
				names = append(names, feed.Name(fmt.Sprintf("f%d", i*1000+j)))
			}
			c.subscribe("x", names...)
			c.told()
			c.Unsubscribe(names)
		}
		synctest.Wait()
		if got := h.Stats().Feeds; got != 10_000 {
			t.Errorf("%d feeds linger", got)
		}
		time.Sleep(linger)
		synctest.Wait()
		if got := h.Stats().Feeds; got != 0 || b.following() != 0 {
			t.Errorf("%d feeds left, %d on the bus", got, b.following())
		}
	})
}

// TestSlowFollow: who waits for the bus holds up neither others nor its own pings, but its later answers.
func TestSlowFollow(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.when(func(_ context.Context, _ string, names []feed.Name) error {
			if names[0] == "slow" {
				time.Sleep(2 * time.Second)
			}
			return nil
		})
		one, two := listen(t, b, h), listen(t, b, h)
		one.subscribe("x", "slow")
		one.Answer("error", 0, false)
		one.Answer("pong", 0, true)
		one.subscribe("y", "b")
		two.subscribe("z", "c")
		one.expect("pong[]")
		two.expect("z[c=null]")
		b.set("b", 7) // no signal before its subscribed
		b.set("slow", 8)
		one.expect()
		two.subscribe("w", "b")
		two.expect("w[b=7]")
		time.Sleep(2 * time.Second)
		one.expect("x[slow=8]", "error[]", "y[b=7]")
	})
}

// TestWantedAgainWhileUnfollowing: the new Follow waits for the Unfollow under way.
func TestWantedAgainWhileUnfollowing(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		c.subscribe("x", "a")
		c.expect("x[a=null]")
		c.Unsubscribe([]feed.Name{"a"})
		b.when(func(context.Context, string, []feed.Name) error {
			time.Sleep(time.Second)
			return nil
		})
		time.Sleep(linger)
		b.expect("follow a", "unfollow a")
		c.subscribe("y", "a")
		b.set("a", 1)
		c.expect()
		b.expect()
		time.Sleep(time.Second)
		c.expect()
		b.expect("follow a")
		time.Sleep(time.Second)
		c.expect("y[a=1]")
	})
}

func TestUnsubscribeWhileWaiting(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.when(func(context.Context, string, []feed.Name) error {
			time.Sleep(time.Second)
			return nil
		})
		c := listen(t, b, h)
		c.subscribe("x", "a", "b")
		c.Unsubscribe([]feed.Name{"a"})
		c.Answer("left", 0, false)
		c.subscribe("y", "a")
		c.expect()
		b.set("a", 1)
		time.Sleep(time.Second)
		c.expect("x[a=null,b=null]", "left[]", "y[a=1]")
		b.set("a", 2)
		c.expect("changed[a=2]")
		c.Unsubscribe([]feed.Name{"a"})
		b.set("a", 3)
		c.expect()
	})
}

func TestRefusedFollow(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"at once": func(context.Context) error { return errors.New("no") },
		"never": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
				fails := 0
				b.when(func(ctx context.Context, call string, names []feed.Name) error {
					if call == "follow" && names[0] == "a" && fails < 4 {
						fails++
						return fail(ctx)
					}
					return nil
				})
				b.set("a", 5)
				c := listen(t, b, h)
				c.subscribe("x", "a")
				if name == "never" {
					time.Sleep(3*time.Second - 1)
					c.expect()
					time.Sleep(time.Nanosecond)
				}
				c.expect("x[a=null]")
				b.set("a", 6) // nobody listens
				c.subscribe("y", "a")
				c.expect("y[a=null]")
				time.Sleep(time.Minute)
				c.expect("changed[a=6]")
				if fails != 4 {
					t.Errorf("%d failures", fails)
				}
			})
		})
	}
}

func TestRetriesEndWithTheirClients(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.when(func(context.Context, string, []feed.Name) error { return errors.New("no") })
		c := listen(t, b, h)
		c.subscribe("x", "a", "b")
		c.expect("x[a=null,b=null]")
		c.Close()
		b.said()
		time.Sleep(time.Minute)
		b.expect()
		if s := h.Stats(); s.Feeds != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

func TestAlive(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		b.set("a", 1)
		c.subscribe("x", "a", "b")
		c.expect("x[a=1,b=null]")
		b.lose()
		b.find()
		c.expect() // too short for the client to be told

		b.lose()
		c.expect("alive=false")
		b.set("a", 2)
		late := listen(t, b, h)
		late.subscribe("y", "a", "c")
		late.expect("alive=false", "y[a=null,c=null]")
		c.subscribe("z", "a")
		c.expect("z[a=null]")
		b.find()
		c.expect("changed[a=2]", "alive=true")
		late.expect("changed[a=2]", "alive=true")
		b.set("c", 3)
		late.expect("changed[c=3]")

		// Equal heads are told again to whom they are news.
		b.lose()
		c.subscribe("w", "a")
		c.expect("alive=false", "w[a=null]")
		b.find()
		c.expect("changed[a=2]", "alive=true")
	})
}

// TestAliveIsNotStarved: what moves after the bus has come back does not put off the news of it.
func TestAliveIsNotStarved(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		var names []feed.Name
		for i := range 1500 {
			names = append(names, feed.Name(fmt.Sprintf("f%d", i)))
		}
		c.subscribe("x", names[:1000]...)
		c.subscribe("y", names[1000:]...)
		c.told()
		b.lose()
		c.expect("alive=false")
		for _, n := range names {
			b.set(n, 1)
		}
		b.find()
		for i := range 10 {
			text := c.one()
			for _, n := range names {
				b.set(n, int64(i+2))
			}
			if text == "alive=true" {
				if i != 2 {
					t.Errorf("told after %d frames", i)
				}
				return
			}
			if !strings.HasPrefix(text, "changed[") {
				t.Fatal(text)
			}
		}
		t.Error("never told")
	})
}

func TestNeitherAnswersNorSignalsStarve(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		c.subscribe("x", "a")
		c.told()
		var order []string
		c.Answer("pong", 0, true)
		for i := range int64(6) {
			b.set("a", i+1)
			c.Answer("pong", 0, true)
			order = append(order, strings.SplitN(c.one(), "[", 2)[0])
		}
		if got := strings.Join(order, " "); !strings.Contains(got, "changed pong changed") {
			t.Error(got)
		}
	})
}

func TestTooManyFeeds(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		var names []feed.Name
		for i := range 1501 {
			names = append(names, feed.Name(fmt.Sprintf("f%d", i)))
		}
		if err := c.Subscribe(names, "x", 0); !errors.Is(err, hub.ErrTooManyFeeds) {
			t.Error(err)
		}
		c.expect()
		b.expect()
		if len(c.Feeds()) != 0 || h.Stats().Feeds != 0 {
			t.Error("something has changed")
		}
		c.subscribe("y", names[:1500]...)
		c.subscribe("z", names[:1000]...) // none of them is new
		if got := c.told(); len(got) != 2 {
			t.Error(len(got))
		}
	})
}

// TestRoom: whoever takes nothing in gets no more answers, and memory of them stays bounded.
func TestRoom(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		answers := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for c.WaitRoom() {
				c.Answer("x", 9, false)
				answers++
			}
		}()
		synctest.Wait()
		if answers != hub.MaxWeight/10 {
			t.Errorf("%d answers wait", answers)
		}
		c.one()
		synctest.Wait()
		if answers != hub.MaxWeight/10+1 {
			t.Errorf("%d answers after one was taken", answers)
		}
		c.Close()
		<-done
		c.expect()
		if err := c.Subscribe([]feed.Name{"a"}, "x", 0); !errors.Is(err, hub.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestLevelTriggered(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		c := listen(t, b, h)
		c.subscribe("x", "a", "b")
		c.told()
		for i := range int64(10_000) {
			b.set("a", i+1)
			b.set("b", i%10+1)
		}
		c.expect("changed[a=10000,b=10]")
		b.follower.Signal("a", b.head("a"))
		b.follower.Signal("a", b.head("b"))
		b.follower.Signal("unheard", b.head("a"))
		c.expect()
		late := listen(t, b, h)
		late.subscribe("y", "a")
		late.expect("y[a=10000]")
	})
}
