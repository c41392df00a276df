package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// TestKillUnderWrites kills the server in the middle of writes, again and again, and starts it again where it was.
func TestKillUnderWrites(t *testing.T) {
	const kills = 5
	server := doorbelltest.Dev(t)
	feeds := []string{"crash:a", "crash:b"}
	var writers []*writer
	watches := map[string]*process.Process{}
	for _, feed := range feeds {
		for i := range 3 {
			writers = append(writers, &writer{name: fmt.Sprintf("w%d", i), feed: feed, client: server.Client()})
		}
		watches[feed] = doorbelltest.Shell{}.Start(t, "watch", feed, "--url", server.URL())
	}

	before := map[string]string{}
	for range kills {
		writeUntil(t, writers, 60, func() {
			time.Sleep(rand.N(20 * time.Millisecond)) // anywhere in what a write does
			server.Kill()
		})
		server.Restart()
		client := server.Client()
		for _, feed := range feeds {
			head := server.Head(feed)
			state, err := client.Load(t.Context(), feed)
			if err != nil {
				t.Fatal(err)
			}
			if head != state.Cursor {
				t.Errorf("%s: its head is %s, its snapshot is at %s", feed, head, state.Cursor)
			}
			check(t, feed, writers, state)
			if known := before[feed]; known != "" && (epochOf(known) != epochOf(head) || seqOf(known) >= seqOf(head)) {
				t.Errorf("%s: it was at %s, and is at %s after a restart", feed, known, head)
			}
			written, err := client.Put(t.Context(), "crash:other", "key", json.RawMessage(`1`))
			if err != nil {
				t.Fatal(err)
			}
			if known := before["crash:other"]; known != "" && written.Cursor != fmt.Sprintf("%s-%d", epochOf(known), seqOf(known)+1) {
				t.Errorf("a write after the restart made %s of %s", written.Cursor, known)
			}
			before[feed], before["crash:other"] = head, written.Cursor
		}
		if t.Failed() {
			return
		}
	}

	for feed, watch := range watches {
		want, err := server.Client().Load(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		lines := doorbelltest.WaitCursor(t, watch.Out, want.Cursor)
		doorbelltest.SameState(t, "watch "+feed, doorbelltest.Apply(lines), want)
		last := int64(0)
		for _, l := range lines {
			if l.Reset || l.Trimmed > 0 {
				t.Errorf("watch %s printed a reset or a trim: %+v", feed, l)
			}
			if l.Cursor == nil && l.Seq <= last {
				t.Errorf("watch %s printed %d after %d", feed, l.Seq, last)
			}
			last = max(last, l.Seq)
		}
		if !watch.Running() {
			t.Errorf("watch %s ended: %s", feed, watch.Err)
		}
	}
}

// TestWatchGoesOnFromAStoredCursor: what came after the cursor, each key once, and nothing else.
func TestWatchGoesOnFromAStoredCursor(t *testing.T) {
	server := doorbelltest.Dev(t)
	client := server.Client()
	write := func(changes ...doorbell.Change) string {
		written, err := client.Write(t.Context(), "demo:mine", changes)
		if err != nil {
			t.Fatal(err)
		}
		return written.Cursor
	}
	watch := doorbelltest.Shell{}.Start(t, "watch", "demo:mine", "--url", server.URL())
	write(put("old", 1), put("changed", 1), put("gone", 1))
	lines := doorbelltest.WaitCursor(t, watch.Out, write(put("changed", 2)))
	if code, err := watch.Stop(doorbelltest.StopWithin); err != nil || code != 0 {
		t.Fatalf("watch stopped with %d, %v; want 0", code, err)
	}
	stored := *lines[len(lines)-1].Cursor

	write(put("changed", 3), put("new", 1))
	server.Kill()
	server.Restart()
	write(doorbell.Change{Key: "gone", Deleted: true})
	latest := write(put("changed", 4))

	again := doorbelltest.Shell{}.Start(t, "watch", "demo:mine", "--since", stored, "--url", server.URL())
	doorbelltest.WaitCursor(t, again.Out, latest)
	touched, err := client.Touch(t.Context(), "demo:mine")
	if err != nil {
		t.Fatal(err)
	}
	doorbelltest.WaitCursor(t, again.Out, touched.Cursor)
	doorbelltest.WaitCursor(t, again.Out, write(put("live", 1)))

	epoch := epochOf(stored)
	want := []string{
		`{"key":"new","seq":6,"value":1}`,
		`{"key":"gone","seq":7,"deleted":true}`,
		`{"key":"changed","seq":8,"value":4}`,
		fmt.Sprintf(`{"cursor":"%s-8"}`, epoch),
		fmt.Sprintf(`{"cursor":"%s-9"}`, epoch), // the touch
		`{"key":"live","seq":10,"value":1}`,
		fmt.Sprintf(`{"cursor":"%s-10"}`, epoch),
	}
	if got := again.Out.Lines(); !slices.Equal(got, want) {
		t.Errorf("watch --since %s printed\n%q\nwant\n%q", stored, got, want)
	}
}
