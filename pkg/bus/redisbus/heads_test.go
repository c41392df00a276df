package redisbus_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// teller is an Answerer that knows every feed at the same cursor, and counts what it was asked for.
type teller struct {
	node  *redisbus.Bus
	mu    *sync.Mutex
	asked map[feed.Name]int
}

func (l teller) answer(ctx context.Context, names []feed.Name) {
	l.mu.Lock()
	for _, name := range names {
		l.asked[name]++
	}
	l.mu.Unlock()
	for _, name := range names {
		_ = l.node.Publish(ctx, name, at(1, 1)) // checked by what arrives
	}
}

func TestOneNodeAnswersForAll(t *testing.T) {
	place := testkit.Redis(t)
	var mu sync.Mutex
	asked := make(map[feed.Name]int)
	for range 3 {
		l := teller{newBus(t, hasty(place.URL, place.Prefix)), &mu, asked}
		defer l.node.Answer(l.answer)()
	}
	node := newBus(t, hasty(place.URL, place.Prefix))
	all := names(2500)
	heads, err := node.Heads(t.Context(), all, patience)
	if err != nil || slices.ContainsFunc(heads, func(h bus.Head) bool { return h != bus.At(at(1, 1)) }) {
		t.Errorf("the heads differ from the answers: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range all {
		if asked[name] != 1 {
			t.Fatalf("%s was asked for %d times", name, asked[name])
		}
	}
}

// TestLaterAnswererIsAskedForFollowedFeeds: those that nobody could tell when they were followed.
func TestLaterAnswererIsAskedForFollowedFeeds(t *testing.T) {
	place := testkit.Redis(t)
	node := newBus(t, hasty(place.URL, place.Prefix))
	r := listen(t, node)
	if h := r.follow("a")[0]; h.Known {
		t.Fatalf("the head is %v", h)
	}
	l := teller{newBus(t, hasty(place.URL, place.Prefix)), new(sync.Mutex), make(map[feed.Name]int)}
	defer l.node.Answer(l.answer)()
	r.await(at(1, 1), "a")
}

// TestHeadsAreReadFromTimeToTime: a signal that was lost on the way is made up for.
func TestHeadsAreReadFromTimeToTime(t *testing.T) {
	place := testkit.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: place.Addr})
	defer c.Close()
	opts := hasty(place.URL, place.Prefix)
	opts.RereadEvery = 50 * time.Millisecond
	node := newBus(t, opts)
	r := listen(t, node)
	publish(t, node, at(1, 1), "a", "b")
	r.follow("a", "b")
	if err := c.Set(t.Context(), place.Prefix+"doorbell:head:{a}", at(1, 2).String(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.await(at(1, 2), "a")
	if n := r.count("b"); n != 0 {
		t.Errorf("%d signals of a feed that hasn't moved", n)
	}
}

func TestHeadsExpire(t *testing.T) {
	const week = 7 * 24 * time.Hour
	place := testkit.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: place.Addr})
	defer c.Close()
	node := newBus(t, hasty(place.URL, place.Prefix))
	want := func(name string, least, most time.Duration) {
		t.Helper()
		if ttl := c.TTL(t.Context(), place.Prefix+"doorbell:head:{"+name+"}").Val(); ttl < least || ttl > most {
			t.Errorf("the head of %s expires in %s, want %s to %s", name, ttl, least, most)
		}
	}
	publish(t, node, at(1, 1), "a")
	publish(t, node, feed.Cursor{}, "b", "c")
	want("a", week-time.Minute, week)
	want("b", 9*time.Minute, 10*time.Minute)
	publish(t, node, at(1, 1), "c")
	want("c", week-time.Minute, week)
	for _, name := range []string{"a", "b"} {
		if err := c.Expire(t.Context(), place.Prefix+"doorbell:head:{"+name+"}", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, node, at(1, 1), "a") // says nothing new
	want("a", time.Second, time.Minute)
	publish(t, node, at(1, 2), "a")
	want("a", week-time.Minute, week)
}
