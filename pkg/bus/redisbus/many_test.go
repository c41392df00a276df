package redisbus_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// BenchmarkManyFeeds has 1,000 callers follow 100 feeds each, then loses the connection, and prints what it took: run it with
// -benchtime 1x.
func BenchmarkManyFeeds(b *testing.B) {
	const feeds, callers = 100_000, 1000
	server := testkit.NewRedis(b)
	all := names(feeds)
	other := newBus(b, redisbus.Options{URL: server.URL})
	for some := range slices.Chunk(all, feeds/callers) {
		var publishers sync.WaitGroup
		for _, name := range some {
			publishers.Go(func() { publish(b, other, at(1, 1), name) })
		}
		publishers.Wait()
	}
	for b.Loop() {
		proxy := testkit.NewProxy(b, server.Addr)
		node := newBus(b, redisbus.Options{URL: "redis://" + proxy.Addr})
		r := listen(b, node)
		goroutines, before := runtime.NumGoroutine(), heap()

		begin := time.Now()
		var following sync.WaitGroup
		for some := range slices.Chunk(all, feeds/callers) {
			following.Go(func() {
				if heads, err := r.sub.Follow(b.Context(), some...); err != nil || heads[0].Cursor != at(1, 1) {
					b.Errorf("Follow: %v, %v", heads, err)
				}
			})
		}
		following.Wait()
		b.ReportMetric(time.Since(begin).Seconds(), "s/follow")
		b.ReportMetric(float64(heap()-before)/feeds, "B/feed")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")

		moved := []feed.Name{all[0], all[feeds/2], all[feeds-1]}
		proxy.Cut()
		publish(b, other, at(1, 2), moved...)
		begin = time.Now()
		proxy.Heal()
		for {
			if err := second(r.sub.Follow(b.Context(), all[0])); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		r.await(at(1, 2), moved...)
		b.ReportMetric(time.Since(begin).Seconds(), "s/reconnect")

		proxy.Cut()
		r.awaitAlive(false)
		begin = time.Now()
		proxy.Heal()
		r.awaitAlive(true)
		b.ReportMetric(time.Since(begin).Seconds(), "s/alive")
		if n := len(r.newest); n != feeds {
			b.Errorf("%d feeds were signalled before Alive(true), want all", n)
		}

		begin = time.Now()
		r.sub.Close()
		b.ReportMetric(time.Since(begin).Seconds(), "s/close")
		if err := node.Close(); err != nil {
			b.Error(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkPublishToSignal is the time from Publish to the Follower's call, one at a time.
func BenchmarkPublishToSignal(b *testing.B) {
	server := testkit.NewRedis(b)
	node, other := newBus(b, redisbus.Options{URL: server.URL}), newBus(b, redisbus.Options{URL: server.URL})
	r := listen(b, node)
	r.follow("a")
	var took []time.Duration
	for i := int64(1); b.Loop(); i++ {
		begin := time.Now()
		publish(b, other, at(1, i), "a")
		r.await(at(1, i), "a")
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}

// BenchmarkPublish is many publishers at the same time.
func BenchmarkPublish(b *testing.B) {
	server := testkit.NewRedis(b)
	node := newBus(b, redisbus.Options{URL: server.URL})
	all := names(1000)
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for i := int64(1); pb.Next(); i++ {
			publish(b, node, at(1, i), all[i%1000])
		}
	})
}
