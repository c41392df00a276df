//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"testing"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
)

// TestKilledBetweenCommitAndAnswer: the writer never heard how it went. Who asks again, with the same key, is told by
// another API what would have been the answer, and nothing happens a second time.
func TestKilledBetweenCommitAndAnswer(t *testing.T) {
	c := cluster.Start(t, cluster.Options{APIs: []cluster.Binary{{}, cluster.Failing(t, "after-commit:kill")}})
	whole, failing := c.APIs[0].Client(), c.APIs[1].Client()
	const feed = "once:killed"
	before, err := whole.Put(t.Context(), feed, "before", json.RawMessage(`0`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = failing.Put(t.Context(), feed, "key", json.RawMessage(`1`), doorbell.Once("the-key"))
	if problem := (*doorbell.Problem)(nil); err == nil || errors.As(err, &problem) {
		t.Fatalf("a write at an API that is killed: %v", err)
	}
	<-c.APIs[1].Done()
	// Somebody else's write comes in between.
	if _, err := whole.Put(t.Context(), feed, "key", json.RawMessage(`2`)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := whole.Put(t.Context(), feed, "key", json.RawMessage(`1`), doorbell.Once("the-key"))
		want := cluster.Seq(before.Cursor) + 1
		if err != nil || again.First != want || cluster.Seq(again.Cursor) != want {
			t.Fatalf("asked again: %+v, %v; want the answer to the first change after %s", again, err, before.Cursor)
		}
	}
	state, err := whole.Load(t.Context(), feed)
	if err != nil || cluster.Seq(state.Cursor) != cluster.Seq(before.Cursor)+2 || string(state.Items["key"].Value) != "2" {
		t.Errorf("the feed is %+v, %v; want two changes after %s, the last of them somebody else's", state, err, before.Cursor)
	}
	_, err = whole.Put(t.Context(), feed, "key", json.RawMessage(`3`), doorbell.Once("the-key"))
	if !doorbell.IsCode(err, "idempotency_key_reused") {
		t.Errorf("another value with the same key: %v", err)
	}
}
