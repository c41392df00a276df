//go:build unix

package cluster

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// fault is something that happens to Redis.
type fault struct {
	name string
	// do makes it happen, and returns when Redis is back: when it answers, and has room for whoever comes.
	do func()
	// long: it takes so long that clients have to be told.
	long bool
	// unseen is how long it may take to find out that anything has happened.
	unseen time.Duration
}

func quiet(i int) string { return fmt.Sprintf("quiet:%d", i) }

// TestRedisFaults: whatever becomes of Redis under writes, nobody is stale for long once it is back, no socket is lost, and
// writes go on.
func TestRedisFaults(t *testing.T) {
	away, frozen, followers := 5*time.Second, 6*time.Second, 100
	if os.Getenv("DOORBELL_LONG_TESTS") != "" {
		frozen, followers = 20*time.Second, 200
	}
	proxies := map[string]*testkit.Proxy{}
	c := cluster.Start(t, cluster.Options{RedisAddr: func(role string, r *testkit.RedisServer) string {
		proxies[role] = testkit.NewProxy(t, r.Addr)
		return proxies[role].Addr
	}})
	l := startLoad(t, c, 5, 100*time.Millisecond, followers, 10)
	faults := []fault{
		{name: "nothing", do: func() {}},
		{name: "restarted", do: c.Redis.Restart},
		{name: "flushed", do: c.Redis.Flush},
		{name: "replaced by an empty one", do: c.Redis.Replace},
		{name: "away for " + away.String(), long: true, do: func() {
			c.Redis.Stop()
			time.Sleep(away)
			c.Redis.Start()
		}},
		{name: "frozen for " + frozen.String(), long: true, do: func() {
			c.Redis.Freeze()
			time.Sleep(frozen)
			c.Redis.Thaw()
		}},
		{name: "unreachable for the gateways for " + away.String(), long: true, do: func() {
			proxies["gateway"].Freeze()
			time.Sleep(away)
			proxies["gateway"].Heal()
		}},
		// As when a firewall has forgotten them: nothing on them ever fails, and nothing comes. New ones pass.
		{name: "the gateways' connections silently dead", unseen: 2 * time.Second, do: func() { proxies["gateway"].Forget() }},
		{name: "the APIs' connections silently dead", unseen: 2 * time.Second, do: func() { proxies["api"].Forget() }},
		{name: "all connections silently dead", unseen: 2 * time.Second, do: func() {
			for _, p := range proxies {
				p.Forget()
			}
		}},
	}
	// Feeds that stay quiet and that nobody follows, so that nothing but the worker can say where they are once Redis has
	// forgotten.
	for i := range faults {
		if _, err := c.Client().Touch(t.Context(), quiet(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) { suffer(t, l, f, quiet(i)) })
	}
	l.end(true)
}

func suffer(t *testing.T, l *load, f fault, quiet string) {
	l.waitWrites(time.Now(), 5)
	before := make([]int, len(l.ears))
	for i, e := range l.ears {
		before[i] = len(e.Degraded(0))
	}
	began := time.Now()
	f.do()
	back := time.Now()
	meanwhile := slices.DeleteFunc(l.since(began, ""), func(o outcome) bool { return o.begun.Before(began) })

	newcomer := cluster.Listen(t, l.c.Nginx.URL(), quiet).WaitHeard(t, 1).Sub(back)

	// Those that are written after it is back come to everybody.
	last := l.waitWrites(back, 10)
	for _, e := range l.ears {
		e.WaitHeard(t, last[e.Feed])
	}
	var stale []time.Duration
	for _, name := range l.feeds {
		var acked []outcome
		for _, o := range l.since(began.Add(-time.Second), name) {
			if o.seq > 0 && o.seq <= last[name] {
				acked = append(acked, o)
			}
		}
		for _, e := range l.ears {
			if e.Feed != name {
				continue
			}
			for _, o := range acked {
				heard, from := e.Heard(o.seq), o.ended
				if heard.After(began) && back.After(from) {
					from = back
				}
				stale = append(stale, max(heard.Sub(from), 0))
			}
		}
	}
	var took []time.Duration
	acked := 0
	for _, o := range meanwhile {
		took = append(took, o.took())
		if o.seq > 0 {
			acked++
		}
	}
	t.Logf("stale: %s; a newcomer knew a quiet feed's head after %s; back after %s, with %d of %d writes acknowledged (%s)",
		spread(stale), newcomer.Round(time.Millisecond), back.Sub(began).Round(time.Millisecond), acked, len(meanwhile), spread(took))
	if worst := slices.Max(stale); worst > soon+f.unseen {
		t.Errorf("somebody was stale for %s after it was back; want %s at most", worst, soon+f.unseen)
	}
	if newcomer > soon+f.unseen {
		t.Errorf("a newcomer knew a quiet feed's head after %s", newcomer)
	}
	if acked < len(meanwhile) {
		t.Errorf("%d writes failed meanwhile", len(meanwhile)-acked)
	}
	if f.long && acked < len(l.feeds)*int(back.Sub(began)/(2*time.Second)) {
		t.Errorf("%d writes in %s: they have not gone on", acked, back.Sub(began))
	}
	checkDegraded(t, l, before, f.long)
	l.wantSockets()
}

// checkDegraded: what came has gone again, and where it has to come it came.
func checkDegraded(t *testing.T, l *load, before []int, has bool) {
	t.Helper()
	came := 0
	for i, e := range l.ears {
		doorbelltest.Eventually(t, fmt.Sprintf("`degraded` goes: %v", e.Degraded(before[i])), func() bool {
			d := e.Degraded(before[i])
			return len(d) == 0 || !d[len(d)-1]
		})
		if slices.Contains(e.Degraded(before[i]), true) {
			came++
		}
	}
	t.Logf("%d of %d sockets were told that they were degraded, and then that they weren't", came, len(l.ears))
	if has && came < len(l.ears) {
		t.Errorf("only %d of %d sockets were told", came, len(l.ears))
	}
}
