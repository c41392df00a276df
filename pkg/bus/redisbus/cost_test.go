package redisbus_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// calls are how often Redis has carried out each command since the last time it was asked.
func calls(t *testing.T, c *redis.Client) map[string]int {
	t.Helper()
	info, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]int)
	for line := range strings.Lines(info) {
		var n int
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if _, err := fmt.Sscanf(rest, "%d", &n); ok && err == nil {
			all[name] = n
		}
	}
	return all
}

// TestAThousandFollowersCostAHandfulOfCommands: asked for together, or by a thousand callers at the same time.
func TestAThousandFollowersCostAHandfulOfCommands(t *testing.T) {
	server := testkit.NewRedis(t)
	stats := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer stats.Close()
	opts := hasty(server.URL, "")
	opts.Timeout, opts.ProbeEvery, opts.LostAfter, opts.Connections = 10*time.Second, time.Hour, 2*time.Hour, 4
	node := newBus(t, opts)
	r := listen(t, node)
	all := names(2000)
	publish(t, node, at(1, 1), all...)
	calls(t, stats)

	want := func(what string, most map[string]int) {
		t.Helper()
		got := calls(t, stats)
		t.Logf("%s: %v", what, got)
		for command, n := range most {
			if got[command] > n || got[command] == 0 {
				t.Errorf("%s took %d of %s, want 1 to %d", what, got[command], command, n)
			}
		}
	}
	r.follow(all[:1000]...)
	want("one call for 1,000 feeds", map[string]int{"subscribe": 4, "mget": 4})

	var callers sync.WaitGroup
	for _, name := range all[1000:] {
		callers.Go(func() {
			if _, err := r.sub.Follow(t.Context(), name); err != nil {
				t.Errorf("Follow: %v", err)
			}
		})
	}
	callers.Wait()
	want("1,000 calls for a feed each", map[string]int{"subscribe": 100, "mget": 100})

	callers = sync.WaitGroup{}
	for _, name := range all {
		callers.Go(func() {
			if err := node.Publish(t.Context(), name, at(1, 2)); err != nil {
				t.Errorf("Publish: %v", err)
			}
		})
	}
	callers.Wait()
	r.await(at(1, 2), all...)
	calls(t, stats)

	r.sub.Unfollow(all...)
	r.follow("fence:1", "fence:2", "fence:3", "fence:4", "fence:5", "fence:6", "fence:7", "fence:8") // behind it
	want("one call to unfollow 2,000", map[string]int{"unsubscribe": 16})
	channels, err := stats.PubSubChannels(t.Context(), "doorbell:signal:*").Result()
	if err != nil || len(channels) > 8+len(all)/2 {
		t.Errorf("%d channels are left: %v", len(channels), err)
	}
}

// TestIntervalsOfABusyFeed: signals come all the time, however often it's published, from two nodes.
func TestIntervalsOfABusyFeed(t *testing.T) {
	const interval = 20 * time.Millisecond
	place := testkit.Redis(t)
	opts := hasty(place.URL, place.Prefix)
	opts.Interval = func(feed.Name) time.Duration { return interval }
	node, other := newBus(t, opts), newBus(t, opts)
	r := listen(t, node)
	r.follow("busy")
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for i, b := range []*struct{ publish func(seq int64) error }{
		{func(seq int64) error { return node.Publish(t.Context(), "busy", at(1, seq)) }},
		{func(seq int64) error { return other.Publish(t.Context(), "busy", at(1, seq)) }},
	} {
		writers.Go(func() {
			for seq := int64(i); ; seq += 2 {
				if err := b.publish(seq); err != nil {
					t.Errorf("Publish: %v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	begin := time.Now()
	r.until("20 signals", func() bool { return r.signals["busy"] >= 20 })
	took := time.Since(begin)
	close(stop)
	writers.Wait()
	if n := r.count("busy"); n > int(took/interval)+3 {
		t.Errorf("%d signals in %s, one per %s", n, took, interval)
	}
	publish(t, other, at(2, 1), "busy")
	r.await(at(2, 1), "busy")
}

// TestOverdueSignalIsSentWithTheNextPublish: it isn't put off until the next multiple, again and again while others come first.
func TestOverdueSignalIsSentWithTheNextPublish(t *testing.T) {
	place := testkit.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: place.Addr})
	defer c.Close()
	opts := hasty(place.URL, place.Prefix)
	opts.Interval = func(feed.Name) time.Duration { return time.Hour }
	node := newBus(t, opts)
	r := listen(t, node)
	r.follow("slow")
	overdue := time.Now().Add(-time.Second).UnixMilli()
	if err := c.Set(t.Context(), place.Prefix+"doorbell:due:{slow}", overdue, 0).Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, node, at(1, 1), "slow")
	r.await(at(1, 1), "slow")
}

// TestWhoClosesPaysFirst: a signal that waits for its interval isn't lost with the process.
func TestWhoClosesPaysFirst(t *testing.T) {
	place := testkit.Redis(t)
	opts := hasty(place.URL, place.Prefix)
	opts.Interval = func(feed.Name) time.Duration { return time.Hour }
	node, other := newBus(t, opts), newBus(t, opts)
	r := listen(t, node)
	r.follow("slow")
	publish(t, other, at(1, 1), "slow")
	publish(t, other, at(1, 2), "slow")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	r.await(at(1, 2), "slow")
}
