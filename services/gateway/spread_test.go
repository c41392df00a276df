package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// TestALargeAudienceIsToldToSpreadItsPulls: with those of all gateways, once they have told each other.
func TestALargeAudienceIsToldToSpreadItsPulls(t *testing.T) {
	t.Parallel()
	b := membus.New(membus.Options{})
	defer b.Close()
	onBus := func(o *gateway.Options) {
		crowded := policy.Default()
		crowded.Public, crowded.PullRateTarget = true, 100
		o.Bus = b
		o.Policies = policy.NewSet(crowded, map[string]policy.Namespace{"orders": o.Policies.For("orders:1")})
	}
	h, other := start(t, onBus), start(t, onBus)
	const many = 60
	for range many {
		for _, at := range []*harness{h, other} {
			c := at.dial("")
			c.send(`{"subscribe":{"crowd":"","orders:1":""}}`)
			c.next()
		}
	}
	c := h.dial("")
	c.send(`{"subscribe":{"crowd":"","alone":"","orders:1":""}}`)
	c.next()
	spread := func(seq int64) int {
		t.Helper()
		if err := b.Publish(t.Context(), "crowd", cursor(seq)); err != nil {
			t.Fatal(err)
		}
		var m struct {
			Changed map[string]string
			Spread  *int
		}
		text := c.next()
		if err := json.Unmarshal([]byte(text), &m); err != nil || m.Changed["crowd"] == "" {
			t.Fatalf("got %s", text)
		}
		if m.Spread == nil {
			return 0
		}
		return *m.Spread
	}
	if got := spread(1); got != 610 {
		t.Errorf("61 here and 100 a second are spread over %d ms; want 610", got)
	}
	seq := int64(1)
	h.eventually("the others count, too", func() bool {
		seq++
		got := spread(seq)
		if got != 610 && got != 1210 {
			t.Fatalf("spread over %d ms", got)
		}
		return got == 1210
	})
	if err := b.Publish(t.Context(), "alone", cursor(1)); err != nil {
		t.Fatal(err)
	}
	c.expect(`{"changed":{"alone":` + at(1) + `}}`) // a small one
	if err := b.Publish(t.Context(), "orders:1", cursor(1)); err != nil {
		t.Fatal(err)
	}
	if text := c.next(); strings.Contains(text, "spread") { // nobody set a target
		t.Errorf("got %s", text)
	}
}
