package redisbus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// TestRedisIsLostAndFound: whatever happens to the server, calls fail soon meanwhile, and followers hear of what is published
// once it's back.
func TestRedisIsLostAndFound(t *testing.T) {
	for how, c := range map[string]struct{ lose, find func(*testkit.RedisServer) }{
		"stopped":  {(*testkit.RedisServer).Stop, (*testkit.RedisServer).Start},
		"killed":   {(*testkit.RedisServer).Kill, (*testkit.RedisServer).Start},
		"replaced": {(*testkit.RedisServer).Kill, (*testkit.RedisServer).Replace},
		"frozen":   {(*testkit.RedisServer).Freeze, (*testkit.RedisServer).Thaw},
	} {
		t.Run(how, func(t *testing.T) {
			redis := testkit.NewRedis(t)
			node, other := newBus(t, hasty(redis.URL, "")), newBus(t, hasty(redis.URL, ""))
			r := listen(t, node)
			all := names(50)
			publish(t, other, at(1, 1), all...)
			r.follow(all...)
			for round := int64(2); round < 4; round++ {
				c.lose(redis)
				r.awaitAlive(false)
				if node.Alive() {
					t.Errorf("alive without Redis")
				}
				wantUnavailable(t, node, r)
				c.find(redis)
				begin := time.Now()
				publishSoon(t, other, at(round, 1), all...)
				r.await(at(round, 1), all...)
				r.awaitAlive(true)
				t.Logf("all was well again after %s", time.Since(begin))
				r.follow("loss:1")
				r.sub.Unfollow("loss:1")
			}
			if n := r.changes(); n != 4 {
				t.Errorf("Alive was called %d times, want 4", n)
			}
		})
	}
}

// TestCallsUnderWayFailWhenRedisFreezes: the call under way fails, too, before the bus knows that Redis is lost.
func TestCallsUnderWayFailWhenRedisFreezes(t *testing.T) {
	redis := testkit.NewRedis(t)
	opts := hasty(redis.URL, "")
	opts.ProbeEvery, opts.LostAfter = time.Hour, 2*time.Hour
	node := newBus(t, opts)
	r := listen(t, node)
	r.follow(names(10)...)
	redis.Freeze()
	defer redis.Thaw()
	wantUnavailable(t, node, r)
}

func TestFlushedRedisIsFilledAgain(t *testing.T) {
	redis := testkit.NewRedis(t)
	node, other := newBus(t, hasty(redis.URL, "")), newBus(t, hasty(redis.URL, ""))
	r := listen(t, node)
	all := names(20)
	publish(t, other, at(1, 5), all...)
	r.follow(all...)
	redis.Flush()
	publish(t, other, at(1, 6), all...)
	r.await(at(1, 6), all...)
	if n := r.changes(); n != 0 {
		t.Errorf("Alive was called %d times", n)
	}
}

// TestConnectionsThatEndLoseNothing: a short loss is made up for by reading the heads, without anybody having been told.
func TestConnectionsThatEndLoseNothing(t *testing.T) {
	for how, end := range map[string]func(p *testkit.Proxy, meanwhile func()){
		"cut": func(p *testkit.Proxy, meanwhile func()) {
			p.Cut()
			meanwhile()
			p.Heal()
		},
		"reset": func(p *testkit.Proxy, meanwhile func()) {
			p.Reset()
			meanwhile()
		},
		"silently dead": func(p *testkit.Proxy, meanwhile func()) {
			p.Forget()
			meanwhile()
		},
	} {
		t.Run(how, func(t *testing.T) {
			redis := testkit.Redis(t)
			proxy := testkit.NewProxy(t, redis.Addr)
			opts := hasty("redis://"+proxy.Addr, redis.Prefix)
			opts.LostAfter = time.Hour
			node, other := newBus(t, opts), newBus(t, hasty(redis.URL, redis.Prefix))
			r := listen(t, node)
			all := names(40)
			r.follow(all...)
			for round := int64(1); round < 5; round++ {
				end(proxy, func() { publish(t, other, at(round, 1), all...) })
				r.await(at(round, 1), all...)
				publish(t, other, at(round, 2), all...)
				r.await(at(round, 2), all...)
			}
			if n := r.changes(); n != 0 {
				t.Errorf("Alive was called %d times", n)
			}
		})
	}
}

func TestStartsWithoutRedis(t *testing.T) {
	redis := testkit.NewRedis(t)
	redis.Stop()
	node := newBus(t, hasty(redis.URL, ""))
	if node.Alive() {
		t.Errorf("alive without Redis")
	}
	r := listen(t, node)
	wantUnavailable(t, node, r)
	node.Answer(nil)() // nobody is asked
	redis.Start()
	r.awaitAlive(true)
	r.follow("a")
	publish(t, node, at(1, 1), "a")
	r.await(at(1, 1), "a")
}

func TestCloseWhenRedisIsFrozen(t *testing.T) {
	redis := testkit.NewRedis(t)
	node := newBus(t, hasty(redis.URL, ""))
	r := listen(t, node)
	r.follow(names(10)...)
	redis.Freeze()
	defer redis.Thaw()
	published := make(chan error)
	go func() { published <- node.Publish(t.Context(), "a", at(1, 1)) }()
	begin := time.Now()
	if err := node.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Close took %s", took)
	}
	if err := <-published; !errors.Is(err, bus.ErrClosed) && !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("Publish: %v", err)
	}
}

func TestRefusesOptions(t *testing.T) {
	for _, opts := range []redisbus.Options{{}, {URL: "http://localhost"}, {URL: "redis://localhost", Connections: 65}, {URL: "redis://localhost", Connections: -1}} {
		if b, err := redisbus.New(t.Context(), opts); err == nil {
			t.Errorf("New(%+v) took them", opts)
			_ = b.Close()
		}
	}
}

// TestMarkTellsLivesApart: one that was persisted tells how far it goes, but not that nothing is lost.
func TestMarkTellsLivesApart(t *testing.T) {
	redis := testkit.NewRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	node := newBus(t, hasty(redis.URL, ""))
	mark := func() bus.Mark {
		t.Helper()
		for late := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			m, err := node.Mark(t.Context())
			if err == nil {
				return m
			}
			if !errors.Is(err, bus.ErrUnavailable) || time.Now().After(late) {
				t.Fatalf("Mark: %v", err)
			}
		}
	}
	first := mark()
	if err := node.SetMark(t.Context(), first.Life, "horizon 7"); err != nil {
		t.Fatal(err)
	}
	if got, want := mark(), (bus.Mark{Life: first.Life, Text: "horizon 7", Whole: true}); got != want {
		t.Errorf("the mark is %+v, want %+v", got, want)
	}
	redis.Restart()
	second := mark()
	if second.Life == first.Life || second.Whole || second.Text != "horizon 7" {
		t.Errorf("after a restart the mark is %+v, before it %+v", second, first)
	}
	if err := node.SetMark(t.Context(), first.Life, "horizon 8"); !errors.Is(err, bus.ErrForgotten) {
		t.Errorf("SetMark of a life that is over: %v", err)
	}
	redis.Flush()
	if third := mark(); third.Life == second.Life || third.Whole || third.Text != "" {
		t.Errorf("after a flush the mark is %+v, before it %+v", third, second)
	}
	redis.Replace()
	if fourth := mark(); fourth.Whole || fourth.Text != "" {
		t.Errorf("after a replacement the mark is %+v", fourth)
	}
}
