package window

import (
	"context"
	"log/slog"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// scripted is a Store that gives one answer.
type scripted struct {
	asked store.Query
	told  feed.Delta
}

func (s *scripted) Delta(_ context.Context, _ feed.Name, q store.Query) (feed.Delta, error) {
	s.asked = q
	d := s.told
	d.Since = q.Since
	return d, nil
}

func newWindows(t *testing.T, st Store) *Windows {
	t.Helper()
	b := membus.New(membus.Options{})
	w, err := New(Options{Store: st, Bus: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); _ = b.Close() })
	return w
}

// TestReplicasDoNotTakeBack: what is held is what an answer has to cover, also where the bus has told of less.
func TestReplicasDoNotTakeBack(t *testing.T) {
	w := newWindows(t, &scripted{})
	f := &Feed{name: "a", w: w, live: true, head: bus.At(at(3)), toldIn: w.life.Load()}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, tc := range []struct {
		held   *View
		floor  int64
		enough int64
	}{{nil, 2, 3}, {nil, 4, 4}, {newView(at(5), 0, 0, true, nil), 4, 5}, {newView(at(2), 0, 0, true, nil), 0, 3}} {
		f.view = tc.held
		if got := f.enoughLocked(want{enough: at(tc.floor)}, f.toldIn); got != at(tc.enough) {
			t.Errorf("%+v: %s is enough; want %d", tc, got, tc.enough)
		}
	}
}

// TestAStoreThatHasGoneBack: what is held has let go of values that the store has again, so no snapshot comes of it.
func TestAStoreThatHasGoneBack(t *testing.T) {
	change := func(key string, seq int64) feed.Change { return feed.Change{Key: key, Seq: seq, Value: []byte("1")} }
	held := newView(at(5), 0, 4, true, []feed.Change{change("a", 1), change("b", 5)}) // b was 2 before
	s := &scripted{told: feed.Delta{Head: at(3), Cursor: at(3), Changes: []feed.Change{change("c", 3)}}}
	l, err := newWindows(t, s).load("a", held, want{since: at(2)})
	if err != nil || s.asked.Since != at(2) || l.view.Head != at(3) {
		t.Fatalf("%+v, %v; asked for %+v", l, err, s.asked)
	}
	if _, whole := l.view.Snapshot(); whole {
		t.Error("it passes for a snapshot, and lacks b")
	}
	if d, err := l.view.Delta(store.Query{Since: at(2), Limit: 9, MaxBytes: 99}); err != nil || len(d.Changes) != 1 {
		t.Errorf("what the store has told: %+v, %v", d, err)
	}
}
