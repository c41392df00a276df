//go:build unix

package cluster

import (
	"net/http"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestPostgresRestarts under load, in an orderly way and by a crash: writes are refused soon and politely, everything comes back by
// itself, and what was acknowledged is there.
func TestPostgresRestarts(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	l := startLoad(t, c, 5, 50*time.Millisecond, 20, 10)
	for _, r := range []struct {
		name string
		end  func()
	}{{"stopped", c.Postgres.Stop}, {"killed", c.Postgres.Kill}} {
		t.Run(r.name, func(t *testing.T) { losePostgres(t, l, r.end) })
	}
	l.end(true)
	for i, e := range l.ears {
		if d := e.Degraded(0); len(d) > 0 {
			t.Errorf("socket %d was told %v: signals never depended on Postgres", i, d)
		}
	}
}

func losePostgres(t *testing.T, l *load, end func()) {
	c := l.c
	l.waitWrites(time.Now(), 10)
	began := time.Now()
	end()
	gone := time.Now()
	refused := func() map[string]int {
		n := map[string]int{}
		for _, name := range l.feeds {
			for _, o := range l.since(gone, name) {
				if o.seq == 0 && o.begun.After(gone) {
					n[name]++
				}
			}
		}
		return n
	}
	doorbelltest.Eventually(t, "every writer is refused again and again", func() bool {
		n := refused()
		for _, name := range l.feeds {
			if n[name] < 20 {
				return false
			}
		}
		return true
	})
	for i, api := range c.APIs {
		if api.Ready() {
			t.Errorf("without Postgres API %d says that it's ready", i)
		}
	}
	starting := time.Now()
	c.Postgres.Start()
	back := time.Now()
	last := l.waitWrites(back, 10)
	for _, n := range append(c.APIs, c.Workers...) {
		n.WaitReady()
	}
	for _, e := range l.ears {
		e.WaitHeard(t, last[e.Feed])
	}

	var took, recovered []time.Duration
	for _, name := range l.feeds {
		first := time.Duration(0)
		for _, o := range l.since(began, name) {
			switch p := problem(o.err); {
			case o.seq > 0 && o.begun.After(starting) && first == 0:
				first = max(o.ended.Sub(back), 1)
				recovered = append(recovered, first)
			case o.seq > 0:
			case p == nil || p.Status != http.StatusServiceUnavailable || p.Code != "unavailable" || p.RetryAfter <= 0:
				t.Errorf("without Postgres a write got %v; want 503 with Retry-After", o.err)
			default:
				took = append(took, o.took())
			}
			if o.err != nil && o.begun.After(back.Add(soon)) {
				t.Errorf("%s after Postgres was back a write got %v", o.begun.Sub(back), o.err)
			}
		}
	}
	t.Logf("away for %s; %d writes refused: %s; after it was back the first writes took until: %s",
		back.Sub(began).Round(time.Millisecond), len(took), spread(took), spread(recovered))
	// A second, and what a machine that is busy with other tests adds.
	const most = 1500 * time.Millisecond
	for _, d := range took {
		if d > most {
			t.Errorf("a write was refused after %s; want a second", d)
		}
	}
}
