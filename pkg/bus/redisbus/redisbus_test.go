package redisbus_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/bustest"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hasty are options with which a loss is noticed soon.
func hasty(url, prefix string) redisbus.Options {
	return redisbus.Options{
		URL: url, Prefix: prefix + "doorbell",
		Timeout: 500 * time.Millisecond, ProbeEvery: 100 * time.Millisecond, LostAfter: 700 * time.Millisecond,
		AskAgain: 500 * time.Millisecond,
	}
}

func newBus(t testing.TB, opts redisbus.Options) *redisbus.Bus {
	t.Helper()
	b, err := redisbus.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// open gives nodes on the Redis that the tests share; the first of them by way of a proxy.
func open(t *testing.T, opts bustest.Options) bustest.Harness {
	place := testkit.Redis(t)
	proxy := testkit.NewProxy(t, place.Addr)
	h := bustest.Harness{Interrupt: proxy.Cut, Resume: proxy.Heal, Forget: func() { forget(t, place) }}
	for i := range opts.Nodes {
		url := place.URL
		if i == 0 {
			url = "redis://" + proxy.Addr
		}
		o := hasty(url, place.Prefix)
		o.Interval = opts.Interval
		h.Nodes = append(h.Nodes, bus.Bus(newBus(t, o)))
	}
	return h
}

// forget deletes all that a test has in the shared Redis.
func forget(t *testing.T, place testkit.SharedRedis) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: place.Addr})
	defer c.Close()
	all := c.Scan(t.Context(), 0, place.Prefix+"*", 1000).Iterator()
	for all.Next(t.Context()) {
		if err := c.Del(t.Context(), all.Val()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) { bustest.Run(t, open) }
