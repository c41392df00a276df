package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

func testDrop(t *testing.T, e *env) {
	if _, err := e.Drop(e.ctx, "a", nil, nil); !errors.Is(err, feed.ErrNoFeed) {
		t.Fatalf("dropping no feed: %v; want ErrNoFeed", err)
	}
	w := e.put("a", "x", "y")
	stale := feed.Cursor{Epoch: w.Cursor.Epoch, Seq: 1}
	var refused *feed.PreconditionError
	if _, err := e.Drop(e.ctx, "a", &stale, nil); !errors.As(err, &refused) || refused.Current != w.Cursor {
		t.Fatalf("dropping at a stale cursor: %v; want a failed precondition at %s", err, w.Cursor)
	}
	epoch := w.Cursor.Epoch
	for range 3 { // within one tick of the epoch's clock: still never the same twice
		head, err := e.Drop(e.ctx, "a", nil, nil)
		if err != nil || head.Seq != 0 || head.Epoch <= epoch {
			t.Fatalf("dropped to %s, %v; want seq 0 of an epoch after %s", head, err, epoch)
		}
		epoch = head.Epoch
	}
	e.wantReset("a", w.Cursor, feed.ResetEpoch)
	d := e.delta("a", feed.Cursor{}, 10)
	if len(d.Changes) != 0 || d.Cursor != (feed.Cursor{Epoch: epoch}) || d.More {
		t.Fatalf("a dropped feed reads %+v; want nothing at %s-0", d, epoch)
	}
	if _, err := e.Item(e.ctx, "a", "x"); !errors.Is(err, feed.ErrNoItem) {
		t.Fatalf("an item of a dropped feed: %v; want ErrNoItem", err)
	}
	reborn := e.put("a", "x")
	if reborn.First != 1 || reborn.Cursor != (feed.Cursor{Epoch: epoch, Seq: 1}) {
		t.Fatalf("written again it is %+v; want seq 1 of %s", reborn, epoch)
	}
}

func testTrim(t *testing.T, e *env) {
	three := func(keys ...string) store.Write { return store.Write{Edits: puts(keys...), MaxItems: 3} }
	start := e.append("a", three("a", "b", "c")).Cursor
	if d := e.delta("a", feed.Cursor{}, 10); d.Trimmed != 0 {
		t.Fatalf("trimmed to %d before it was full", d.Trimmed)
	}
	e.append("a", three("a")) // a is the newest now
	e.append("a", three("d")) // b, the oldest, goes
	d := e.delta("a", start, 10)
	wantShape(t, d, "a@4 d@5")
	if d.Trimmed != 2 {
		t.Fatalf("trimmed to %d; want 2", d.Trimmed)
	}
	wantShape(t, e.delta("a", feed.Cursor{}, 10), "c@3 a@4 d@5")
	// A batch larger than the bound leaves its last items.
	e.append("a", three("p", "q", "r", "s"))
	d = e.delta("a", feed.Cursor{}, 10)
	wantShape(t, d, "q@7 r@8 s@9")
	if d.Trimmed != 6 {
		t.Fatalf("trimmed to %d; want 6", d.Trimmed)
	}
	// Tombstones at or below the trim go with it and raise no floor: readers from before are still served.
	e.append("a", store.Write{Edits: []feed.Edit{{Key: "q", Deleted: true}}, MaxItems: 3})
	e.append("a", three("t", "u", "v", "w"))
	d = e.delta("a", start, 10)
	wantShape(t, d, "u@12 v@13 w@14")
	if d.Trimmed != 11 {
		t.Fatalf("trimmed to %d; want 11", d.Trimmed)
	}
	// Deleting makes room.
	e.append("a", store.Write{Edits: []feed.Edit{{Key: "u", Deleted: true}}, MaxItems: 3})
	e.append("a", three("x"))
	wantShape(t, e.delta("a", feed.Cursor{}, 10), "v@13 w@14 x@16")
}

func testPurge(t *testing.T, e *env) {
	w := e.put("a", "x", "y", "z")
	at := func(seq int64) feed.Cursor { return feed.Cursor{Epoch: w.Cursor.Epoch, Seq: seq} }
	e.delete("a", "x") // 4
	e.delete("a", "y") // 5
	e.advance(time.Hour)
	middle := time.UnixMilli(e.clock.Load())
	e.put("a", "y")    // 6: the tombstone of y is a live row again
	e.delete("a", "z") // 7
	purge := func(before time.Time, want int64) {
		t.Helper()
		if n, err := e.Purge(e.ctx, feed.Scope{Except: true}, before); err != nil || n != want {
			t.Fatalf("purged %d, %v; want %d", n, err, want)
		}
	}
	purge(middle.Add(-2*time.Hour), 0)
	wantShape(t, e.delta("a", at(3), 10), "-x@4 y@6 -z@7")
	purge(middle, 1)
	e.wantReset("a", at(3), feed.ResetFloor)
	wantShape(t, e.delta("a", at(4), 10), "y@6 -z@7") // at the floor is not below it
	wantShape(t, e.delta("a", at(0), 10), "y@6")
	purge(middle, 0)
	e.advance(time.Hour)
	purge(e.now(), 1)
	e.wantReset("a", at(6), feed.ResetFloor)
	wantShape(t, e.delta("a", at(7), 10), "")
	if head := e.head("a"); head != at(7) {
		t.Fatalf("purging moved the head to %s", head)
	}
}

func testPurgeScope(t *testing.T, e *env) {
	names := []feed.Name{"a:1", "b:1", "b", "c:1"}
	for _, name := range names {
		e.put(name, "x")
		e.delete(name, "x")
	}
	e.advance(time.Hour)
	for _, step := range []struct {
		scope feed.Scope
		want  int64
	}{
		{feed.Scope{}, 0},
		{feed.Scope{Namespaces: []string{"none"}}, 0},
		{feed.Scope{Namespaces: []string{"b"}}, 2},
		{feed.Scope{Namespaces: []string{"a", "b"}, Except: true}, 1},
		{feed.Scope{Except: true}, 1},
	} {
		if n, err := e.Purge(e.ctx, step.scope, e.now()); err != nil || n != step.want {
			t.Fatalf("purged %d tombstones in %+v, %v; want %d", n, step.scope, err, step.want)
		}
	}
}
