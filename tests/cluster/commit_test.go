//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// soon is how long anybody may be without a signal once nothing is broken any more.
const soon = 3 * time.Second

// TestKilledBetweenCommitAndSignal: the API that made a change didn't live to tell anybody of it.
func TestKilledBetweenCommitAndSignal(t *testing.T) {
	const kills = 3
	c := cluster.Start(t, cluster.Options{APIs: []cluster.Binary{{}, cluster.Failing(t, "after-commit:kill")}})
	whole, failing := c.APIs[0], c.APIs[1]
	for i := range kills {
		name := fmt.Sprintf("kill:%d", i)
		ears := []*cluster.Ear{cluster.Listen(t, c.Gateways[0].URL(), name), cluster.Listen(t, c.Gateways[1].URL(), name)}
		seq := int64(1)
		if i > 0 { // a feed that is born so, and others that have been before
			written, err := whole.Client().Put(t.Context(), name, "before", json.RawMessage(`0`))
			if err != nil {
				t.Fatal(err)
			}
			seq = cluster.Seq(written.Cursor) + 1
			ears[0].WaitHeard(t, seq-1)
		}
		_, err := failing.Client().Put(t.Context(), name, "key", json.RawMessage(`1`))
		if problem := (*doorbell.Problem)(nil); err == nil || errors.As(err, &problem) {
			t.Fatalf("a write at an API that is killed: %v", err)
		}
		killed := time.Now()
		<-failing.Done()
		for _, e := range ears {
			late := e.WaitHeard(t, seq).Sub(killed)
			t.Logf("killed after the commit: heard %s later", late.Round(time.Millisecond))
			if late > soon {
				t.Errorf("a change whose API was killed was heard of after %s; want %s at most", late, soon)
			}
		}
		state, err := whole.Client().Load(t.Context(), name)
		if err != nil || string(state.Items["key"].Value) != "1" {
			t.Errorf("the change is not there: %+v, %v", state, err)
		}
		failing.Start()
		failing.WaitReady()
	}
}

// TestLongTransaction: a change that takes long to be committed is signalled when it is, and holds up nobody else's.
func TestLongTransaction(t *testing.T) {
	hold := 6 * time.Second
	if os.Getenv("DOORBELL_LONG_TESTS") != "" {
		hold = 20 * time.Second
	}
	c := cluster.Start(t, cluster.Options{Workers: 2})
	client := c.Client()
	for _, name := range []string{"long:held", "long:other"} {
		if _, err := client.Put(t.Context(), name, "first", json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
	}
	held, other := cluster.Listen(t, c.Gateways[0].URL(), "long:held"), cluster.Listen(t, c.Gateways[1].URL(), "long:other")

	// What the store does, and then it takes its time. Nobody but the sweeper will tell of it.
	committed := make(chan time.Time, 1)
	go func() {
		c.Postgres.Exec(fmt.Sprintf(`BEGIN;
			UPDATE feeds SET head = head + 1, items = items + 1 WHERE name = 'long:held';
			INSERT INTO items (feed_id, key, seq, deleted, value, changed_at)
				SELECT id, 'late', head, false, '"late"', changed_at FROM feeds WHERE name = 'long:held';
			SELECT pg_sleep(%f);
			COMMIT`, hold.Seconds()))
		committed <- time.Now()
	}()
	doorbelltest.Eventually(t, "the transaction is open", func() bool {
		return c.Postgres.Exec("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
	})

	// Others in the meantime. Half of them are not signalled by whoever makes them either: those, too, the sweeper has to find
	// although an older transaction is open.
	var latest []time.Duration
	var swept []time.Duration
	writes := int64(1)
	for len(committed) == 0 {
		writes++
		unsignalled := writes%2 == 0
		if unsignalled {
			c.Postgres.Exec("UPDATE feeds SET head = head + 1 WHERE name = 'long:other'")
		} else if _, err := client.Touch(t.Context(), "long:other"); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		late := other.WaitHeard(t, writes).Sub(at)
		if unsignalled {
			swept = append(swept, late)
		} else {
			latest = append(latest, late)
		}
		if late > soon {
			t.Errorf("while another feed's transaction was open, a change was signalled after %s", late)
		}
	}
	at := <-committed
	if heard := held.Heard(2); !heard.IsZero() && heard.Before(at.Add(-time.Second)) {
		t.Errorf("the change was signalled %s before it was committed", at.Sub(heard))
	}
	late := held.WaitHeard(t, 2).Sub(at)
	t.Logf("held for %s: signalled %s after the commit; %d writes meanwhile: %s; %d found by the sweeper: %s",
		hold, late.Round(time.Millisecond), len(latest), spread(latest), len(swept), spread(swept))
	if late > soon {
		t.Errorf("a change that was open for %s was signalled %s after its commit", hold, late)
	}
	if len(latest) < 2 || len(swept) < 2 {
		t.Errorf("only %d and %d writes beside it", len(latest), len(swept))
	}
	state, err := client.Load(t.Context(), "long:held")
	if err != nil || string(state.Items["late"].Value) != `"late"` {
		t.Errorf("the feed is %+v, %v", state, err)
	}
}
