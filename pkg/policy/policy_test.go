package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestDefaultIsPrivateAndValid(t *testing.T) {
	if err := Default().Validate("default"); err != nil {
		t.Error(err)
	}
	if Default().Public {
		t.Error("the default is public")
	}
}

func TestEveryFeedHasOnePolicy(t *testing.T) {
	prices := Default()
	prices.Public, prices.SignalInterval = true, time.Second
	set := NewSet(Default(), map[string]Namespace{"prices": prices, "inbox": Default()})
	if !set.For("prices:BTC").Public || set.For("pricesx").Public || set.SignalInterval("prices") != time.Second {
		t.Error("a namespace's policy is not that of its feeds")
	}
	for _, name := range []feed.Name{"prices:BTC", "inbox", "other:x"} {
		found := 0
		for _, scoped := range set.All() {
			if scoped.Scope.Holds(name) {
				found++
				if scoped.Public != set.For(name).Public {
					t.Errorf("%s is in the scope of another policy than its own", name)
				}
			}
		}
		if found != 1 {
			t.Errorf("%s is in %d scopes; want one", name, found)
		}
	}
}

func TestValidateReportsEverything(t *testing.T) {
	n := Default()
	n.Retention, n.MaxBatch, n.MaxItems, n.MaxValueBytes = -1, 1001, -1, 0
	n.PollAfter, n.SignalInterval, n.MaxBatchBytes = 1500*time.Millisecond, 2*time.Hour, -1
	err := n.Validate("namespaces.x")
	if err == nil {
		t.Fatal("taken")
	}
	for _, field := range []string{"retention", "max_batch", "max_items", "max_value_bytes", "poll_after", "signal_interval", "max_batch_bytes"} {
		if !strings.Contains(err.Error(), "namespaces.x."+field+" is ") {
			t.Errorf("nothing is said about %s:\n%v", field, err)
		}
	}
}
