package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

func testAppend(t *testing.T, e *env) {
	first := e.put("a:1", "x", "y")
	if first.First != 1 || first.Cursor.Seq != 2 || first.Cursor.Epoch == 0 || !first.Changed() {
		t.Fatalf("the first write of a feed is %+v; want seqs 1 to 2 of an epoch", first)
	}
	second := e.put("a:1", "x")
	if second.First != 3 || second.Cursor != (feed.Cursor{Epoch: first.Cursor.Epoch, Seq: 3}) {
		t.Fatalf("the second write is %+v after %+v; want seq 3 of the same epoch", second, first)
	}
	if got := e.head("a:1"); got != second.Cursor {
		t.Fatalf("the head is %s; want %s", got, second.Cursor)
	}
	if other := e.put("a:2", "x"); other.First != 1 {
		t.Fatalf("another feed begins at seq %d; want 1", other.First)
	}
	equal := e.put("a:1", "x")
	if equal.First != 4 || !equal.Changed() {
		t.Fatalf("putting an equal value is %+v; want a change", equal)
	}
}

func testRepeatedKey(t *testing.T, e *env) {
	edits := append(puts("x", "y", "x"), feed.Edit{Key: "y", Deleted: true})
	w := e.append("a", store.Write{Edits: edits})
	if w.First != 1 || w.Cursor.Seq != 4 {
		t.Fatalf("four edits of two keys are %+v; want seqs 1 to 4", w)
	}
	wantShape(t, e.delta("a", feed.Cursor{Epoch: w.Cursor.Epoch, Seq: 1}, 10), "x@3 -y@4")
	// A later edit's condition sees the earlier one.
	none := feed.Cursor{}
	e.wantPrecondition("a", store.Write{Edits: []feed.Edit{
		{Key: "z", Value: []byte("1"), If: &none}, {Key: "z", Value: []byte("2"), If: &none},
	}}, feed.PreconditionError{Key: "z", Current: feed.Cursor{Epoch: w.Cursor.Epoch, Seq: 5}})
}

func testDeleteAbsent(t *testing.T, e *env) {
	w := e.delete("a", "x")
	if w.Changed() || !w.Cursor.IsZero() || w.First != 1 {
		t.Fatalf("deleting from a feed that doesn't exist is %+v; want nothing", w)
	}
	if head := e.head("a"); !head.IsZero() {
		t.Fatalf("a write that changed nothing made a feed at %s", head)
	}
	e.put("a", "x")
	e.delete("a", "x")
	again := e.delete("a", "x", "never")
	if again.Changed() || again.Cursor.Seq != 2 || again.First != 3 {
		t.Fatalf("deleting what is gone is %+v; want no change at head 2", again)
	}
	mixed := e.append("a", store.Write{Edits: append([]feed.Edit{{Key: "x", Deleted: true}}, puts("y")...)})
	if mixed.First != 3 || mixed.Cursor.Seq != 3 {
		t.Fatalf("an absent delete and a put are %+v; want seq 3 alone", mixed)
	}
}

func testTouch(t *testing.T, e *env) {
	w := e.append("a", store.Write{Touch: true})
	if w.First != 1 || w.Cursor.Seq != 1 {
		t.Fatalf("touching a new feed is %+v; want seq 1", w)
	}
	d := e.delta("a", feed.Cursor{}, 10)
	if len(d.Changes) != 0 || d.Cursor != w.Cursor || d.More {
		t.Fatalf("a touched feed reads %+v; want nothing, at its head", d)
	}
	if both := e.append("a", store.Write{Edits: puts("x"), Touch: true}); both.First != 2 || both.Cursor.Seq != 3 {
		t.Fatalf("a put and a touch are %+v; want seqs 2 to 3", both)
	}
}

func testBytes(t *testing.T, e *env) {
	values := map[string]string{
		"space":   "{ \"b\" : 1,\n\t\"a\":\r\n2 }",
		"numbers": `[1.0, 1e2, 100000000000000000000.000000000001, -0]`,
		"escapes": `"\u0041\/\u0000<>&` + "\u2028é😀" + `"`,
		"null":    `null`,
		"empty":   `""`,
		"large":   `"` + strings.Repeat("x", 256<<10) + `"`,
	}
	for key, value := range values {
		e.append("a", store.Write{Edits: []feed.Edit{{Key: key, Value: []byte(value)}}})
	}
	keys := []string{"a/b", "é 😀", "'; DROP TABLE feeds; --", "%2F", "a?b#c", "A", "a"}
	e.append("b", store.Write{Edits: puts(keys...)})
	for _, c := range e.delta("a", feed.Cursor{}, 100).Changes {
		if string(c.Value) != values[c.Key] {
			t.Errorf("%s came back as %.80q; want %.80q", c.Key, c.Value, values[c.Key])
		}
		delete(values, c.Key)
	}
	if len(values) > 0 {
		t.Errorf("missing: %v", values)
	}
	for i, c := range e.delta("b", feed.Cursor{}, 100).Changes {
		if c.Key != keys[i] {
			t.Errorf("key %q came back as %q", keys[i], c.Key)
		}
	}
}

func testItemConditions(t *testing.T, e *env) {
	none := feed.Cursor{}
	put := func(condition *feed.Cursor) store.Write {
		return store.Write{Edits: []feed.Edit{{Key: "x", Value: []byte("1"), If: condition}}}
	}
	stale := feed.Cursor{Epoch: 1, Seq: 1}
	e.wantPrecondition("a", put(&stale), feed.PreconditionError{Key: "x"})
	w := e.append("a", put(&none))
	e.wantPrecondition("a", put(&none), feed.PreconditionError{Key: "x", Current: w.Cursor})
	e.put("a", "y") // the feed moves on, the item does not
	v := e.append("a", put(&w.Cursor))
	e.wantPrecondition("a", put(&w.Cursor), feed.PreconditionError{Key: "x", Current: v.Cursor})
	// All or nothing: the good edit before the refused one is not written either.
	e.wantPrecondition("a", store.Write{Edits: append(puts("fresh"), put(&w.Cursor).Edits...)},
		feed.PreconditionError{Key: "x", Current: v.Cursor})
	if _, err := e.Item(e.ctx, "a", "fresh"); !errors.Is(err, feed.ErrNoItem) {
		t.Fatalf("part of a refused batch was written: %v", err)
	}
	// Deletes take conditions, and a deleted item doesn't exist.
	e.append("a", store.Write{Edits: []feed.Edit{{Key: "x", Deleted: true, If: &v.Cursor}}})
	e.wantPrecondition("a", put(&v.Cursor), feed.PreconditionError{Key: "x"})
	e.append("a", put(&none))
}

func testFeedConditions(t *testing.T, e *env) {
	none := feed.Cursor{}
	w := e.append("a", store.Write{Edits: puts("x"), IfHead: &none})
	e.wantPrecondition("a", store.Write{Edits: puts("x"), IfHead: &none}, feed.PreconditionError{Current: w.Cursor})
	v := e.append("a", store.Write{Touch: true, IfHead: &w.Cursor})
	e.wantPrecondition("a", store.Write{Touch: true, IfHead: &w.Cursor}, feed.PreconditionError{Current: v.Cursor})
	e.wantPrecondition("b", store.Write{Touch: true, IfHead: &w.Cursor}, feed.PreconditionError{})
	// A condition is weighed even where there is nothing to do.
	absent := []feed.Edit{{Key: "absent", Deleted: true}}
	e.wantPrecondition("a", store.Write{Edits: absent, IfHead: &w.Cursor}, feed.PreconditionError{Current: v.Cursor})
}

func testCreateRace(t *testing.T, e *env) {
	const rounds, racers = 20, 8
	for round := range rounds {
		name := feed.Name("race:" + string(rune('a'+round)))
		var none feed.Cursor
		var wg sync.WaitGroup
		results := make([]error, racers)
		for i := range racers {
			wg.Go(func() { _, results[i] = e.Append(e.ctx, name, store.Write{Edits: puts("x"), IfHead: &none}) })
		}
		wg.Wait()
		won := 0
		for _, err := range results {
			var refused *feed.PreconditionError
			switch {
			case err == nil:
				won++
			case !errors.As(err, &refused) || refused.Current.Seq != 1:
				t.Fatalf("a racer that lost: %v; want a precondition that failed at seq 1", err)
			}
		}
		if won != 1 || e.head(name).Seq != 1 {
			t.Fatalf("%d of %d racers made the feed, its head is %s; want one and seq 1", won, racers, e.head(name))
		}
	}
}

func testCancelled(t *testing.T, e *env) {
	before := e.put("a", "x").Cursor
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.Append(ctx, "a", store.Write{Edits: puts("y")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("a write whose context is cancelled: %v; want that said", err)
	}
	if after := e.head("a"); after != before {
		t.Fatalf("a write that failed moved the head from %s to %s", before, after)
	}
	if again := e.put("a", "y"); again.First != before.Seq+1 {
		t.Fatalf("after a write that failed the next begins at %d; want %d", again.First, before.Seq+1)
	}
}
