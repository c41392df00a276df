package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

func testDelta(t *testing.T, e *env) {
	if _, err := e.Delta(e.ctx, "a", store.Query{Limit: 10, MaxBytes: 100}); !errors.Is(err, feed.ErrNoFeed) {
		t.Fatalf("delta of a feed that doesn't exist: %v; want ErrNoFeed", err)
	}
	w := e.put("a", "x", "y", "z")
	e.delete("a", "y")
	head := e.put("a", "x").Cursor
	at := func(seq int64) feed.Cursor { return feed.Cursor{Epoch: w.Cursor.Epoch, Seq: seq} }
	for since, want := range map[int64]string{
		0: "z@3 x@5", // from the beginning: no tombstones
		1: "z@3 -y@4 x@5", 3: "-y@4 x@5", 4: "x@5", 5: "",
	} {
		d := e.delta("a", at(since), 10)
		wantShape(t, d, want)
		if d.Feed != "a" || d.Since != at(since) || d.Cursor != head || d.Head != head || d.More || d.Trimmed != 0 {
			t.Fatalf("delta since %d is %+v; want all of it up to %s", since, d, head)
		}
	}
	d := e.delta("a", feed.Cursor{}, 10)
	wantShape(t, d, "z@3 x@5")
	if !d.Since.IsZero() || string(d.Changes[0].Value) != `"z"` {
		t.Fatalf("the snapshot is %+v", d)
	}
}

func testBareSeq(t *testing.T, e *env) {
	head := e.put("a", "x", "y").Cursor
	d, err := e.Delta(e.ctx, "a", store.Query{Since: feed.Cursor{Seq: 1}, BareSeq: true, Limit: 10, MaxBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	wantShape(t, d, "y@2")
	if want := (feed.Cursor{Epoch: head.Epoch, Seq: 1}); d.Since != want {
		t.Fatalf("a bare seq was taken for %s; want %s", d.Since, want)
	}
	_, err = e.Delta(e.ctx, "a", store.Query{Since: feed.Cursor{Seq: 3}, BareSeq: true, Limit: 10, MaxBytes: 100})
	var reset *feed.ResetError
	if !errors.As(err, &reset) || reset.Reason != feed.ResetAhead {
		t.Fatalf("a bare seq beyond the head: %v; want a reset", err)
	}
}

func testDeltaLimits(t *testing.T, e *env) {
	w := e.put("a", "a", "b", "c", "d", "e")
	at := func(seq int64) feed.Cursor { return feed.Cursor{Epoch: w.Cursor.Epoch, Seq: seq} }
	d := e.delta("a", at(1), 2)
	wantShape(t, d, "b@2 c@3")
	if !d.More || d.Cursor != at(3) || d.Head != w.Cursor {
		t.Fatalf("a page of two is %+v; want more from %s", d, at(3))
	}
	if d = e.delta("a", at(1), 4); d.More || d.Cursor != w.Cursor {
		t.Fatalf("a page that fits exactly is %+v; want no more", d)
	}
	bytes := func(most int) feed.Delta {
		d, err := e.Delta(e.ctx, "a", store.Query{Since: at(1), Limit: 10, MaxBytes: most})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d = bytes(1); len(d.Changes) != 1 || !d.More || d.Cursor != at(2) {
		t.Fatalf("a page of a byte is %+v; want one change all the same", d)
	}
	if d = bytes(120); len(d.Changes) < 2 || !d.More {
		t.Fatalf("a page of 120 bytes is %+v; want a few and more", d)
	}
	// Pages of walks and deltas end at round seqs, whatever their size.
	for part := range 5 {
		var keys []string
		for i := range 500 {
			keys = append(keys, fmt.Sprintf("k%d", part*500+i))
		}
		w = e.put("round", keys...)
	}
	if d = e.delta("round", feed.Cursor{}, 1200); len(d.Changes) != 1000 || d.Cursor != (feed.Cursor{Epoch: w.Cursor.Epoch, Seq: 1000, Base: 2500}) {
		t.Fatalf("the first page of a walk has %d changes to %s; want 1000", len(d.Changes), d.Cursor)
	}
	for _, since := range []int64{700, 999, 401} {
		if d = e.delta("round", feed.Cursor{Epoch: w.Cursor.Epoch, Seq: since}, 600); d.Cursor.Seq != 1000 || !d.More || int64(len(d.Changes)) != 1000-since {
			t.Fatalf("a delta from %d has %d changes to %s; want it to end at 1000", since, len(d.Changes), d.Cursor)
		}
	}
}

func testResets(t *testing.T, e *env) {
	w := e.put("a", "x", "y")
	epoch := w.Cursor.Epoch
	e.wantReset("a", feed.Cursor{Epoch: epoch - 1, Seq: 1}, feed.ResetEpoch)
	e.wantReset("a", feed.Cursor{Epoch: epoch + 1, Seq: 1}, feed.ResetAhead)
	e.wantReset("a", feed.Cursor{Epoch: epoch, Seq: 3}, feed.ResetAhead)
	e.wantReset("a", feed.Cursor{Epoch: epoch, Seq: 1, Base: 3}, feed.ResetAhead)
	e.wantReset("a", feed.Cursor{Epoch: epoch - 1, Seq: 0}, feed.ResetEpoch)
}

// testSnapshotIsolation: a batch that swaps values is seen whole or not at all, with the head that goes with it.
func testSnapshotIsolation(t *testing.T, e *env) {
	const swaps, readers = 200, 2
	e.append("a", store.Write{Edits: []feed.Edit{{Key: "l", Value: []byte("0")}, {Key: "r", Value: []byte("0")}}})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range readers {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				d, err := e.Delta(e.ctx, "a", store.Query{Limit: 10, MaxBytes: 1 << 20})
				if err != nil {
					t.Error(err)
					return
				}
				l, r := d.Changes[0], d.Changes[1]
				if string(l.Value) != string(r.Value) || d.Head.Seq != r.Seq || d.Cursor != d.Head {
					t.Errorf("an answer at %s holds %s@%d and %s@%d: not one snapshot", d.Head, l.Value, l.Seq, r.Value, r.Seq)
					return
				}
			}
		})
	}
	for i := range swaps {
		v := fmt.Appendf(nil, "%d", i)
		e.append("a", store.Write{Edits: []feed.Edit{{Key: "l", Value: v}, {Key: "r", Value: v}}})
	}
	close(done)
	wg.Wait()
}

func testItem(t *testing.T, e *env) {
	if _, err := e.Item(e.ctx, "a", "x"); !errors.Is(err, feed.ErrNoFeed) {
		t.Fatalf("an item of no feed: %v; want ErrNoFeed", err)
	}
	w := e.put("a", "x", "y")
	item, err := e.Item(e.ctx, "a", "x")
	if err != nil || item.Feed != "a" || item.Key != "x" || string(item.Value) != `"x"` ||
		item.Cursor != (feed.Cursor{Epoch: w.Cursor.Epoch, Seq: 1}) {
		t.Fatalf("the item is %+v, %v; want x at seq 1", item, err)
	}
	e.delete("a", "x")
	for _, key := range []string{"x", "never"} {
		if _, err := e.Item(e.ctx, "a", key); !errors.Is(err, feed.ErrNoItem) {
			t.Fatalf("item %s: %v; want ErrNoItem", key, err)
		}
	}
}

func testHeads(t *testing.T, e *env) {
	a, b := e.put("a:1", "x").Cursor, e.put("b", "x", "y").Cursor
	e.put("a:B", "x")
	e.put("a:a", "x")
	names := []feed.Name{"b", "none", "a:1", "b"}
	for i := range 9_000 { // more than fit one statement on some databases
		names = append(names, feed.Name(fmt.Sprintf("none:%d", i)))
	}
	heads, err := e.Heads(e.ctx, names)
	if err != nil || len(heads) != len(names) {
		t.Fatalf("%d heads for %d names, %v", len(heads), len(names), err)
	}
	if heads[0] != b || !heads[1].IsZero() || heads[2] != a || heads[3] != b || !heads[9_003].IsZero() {
		t.Fatalf("heads are %v …; want %v, none, %v, %v", heads[:4], b, a, b)
	}
	if heads, err := e.Heads(e.ctx, nil); err != nil || len(heads) != 0 {
		t.Fatalf("no heads: %v, %v", heads, err)
	}
	var listed []feed.Name
	for after := feed.Name(""); ; {
		page, err := e.Feeds(e.ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			listed = append(listed, l.Name)
			if l.Head != e.head(l.Name) {
				t.Fatalf("%s is listed at %s; its head is %s", l.Name, l.Head, e.head(l.Name))
			}
			after = l.Name
		}
	}
	if got := fmt.Sprint(listed); got != "[a:1 a:B a:a b]" { // byte order, not that of a dictionary: '1' < 'B' < 'a'
		t.Fatalf("listed %s; want [a:1 a:B a:a b]", got)
	}
	if err := e.Ping(e.ctx); err != nil {
		t.Fatal(err)
	}
}
