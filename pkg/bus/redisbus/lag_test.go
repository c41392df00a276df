package redisbus_test

import (
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// TestLag is measured, grows while nothing comes, and falls again.
func TestLag(t *testing.T) {
	place := testkit.Redis(t)
	proxy := testkit.NewProxy(t, place.Addr)
	b := newBus(t, hasty("redis://"+proxy.Addr, place.Prefix))
	until := func(what string, holds func(time.Duration) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !holds(b.Lag()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it is never %s: %s", what, b.Lag())
			}
		}
	}
	const long = time.Second
	until("measured", func(lag time.Duration) bool { return lag > 0 && lag < long })
	proxy.Cut()
	until("long", func(lag time.Duration) bool { return lag > long })
	proxy.Heal()
	until("short again", func(lag time.Duration) bool { return lag > 0 && lag < long })
}
