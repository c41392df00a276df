package storetest

import (
	"slices"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// testRenew is about stores that are a Renewer.
func testRenew(t *testing.T, e *env) {
	s, ok := e.Store.(store.Renewer)
	if !ok {
		return
	}
	renew := func(seen ...store.Listed) []store.Listed {
		t.Helper()
		heads, err := s.Renew(e.ctx, seen)
		if err != nil {
			t.Fatal(err)
		}
		return heads
	}
	if got := renew(); len(got) != 0 {
		t.Fatalf("of no feeds: %v", got)
	}
	old := e.put("a", "x", "y").Cursor
	e.delete("a", "x")
	e.put("b", "x")
	b := e.head("b")
	beyond := feed.Cursor{Epoch: old.Epoch, Seq: 7} // what clients had seen before it went back to 3
	far := feed.Cursor{Epoch: old.Epoch + 1_000_000, Seq: 9}
	got := renew(store.Listed{Name: "gone", Head: far}, store.Listed{Name: "a", Head: beyond}, store.Listed{Name: "a", Head: old})
	a := e.head("a")
	if a.Epoch <= old.Epoch || a.Seq != 3 {
		t.Fatalf("a is at %s; want seq 3 of an epoch after %s", a, old)
	}
	gone := e.head("gone")
	if gone.Epoch <= far.Epoch || gone.Seq != 0 {
		t.Fatalf("a feed that was seen at %s and isn't there is at %s; want it empty in a later epoch", far, gone)
	}
	if want := []store.Listed{{Name: "a", Head: a}, {Name: "gone", Head: gone}}; !slices.Equal(got, want) {
		t.Fatalf("renewed: %v; want %v", got, want)
	}
	if e.head("b") != b {
		t.Fatalf("b has moved from %s to %s", b, e.head("b"))
	}
	e.wantReset("a", beyond, feed.ResetEpoch)
	wantShape(t, e.delta("a", feed.Cursor{}, 10), "y@2")
	wantShape(t, e.delta("a", feed.Cursor{Epoch: a.Epoch, Seq: 2}, 10), "-x@3")

	// Who comes second, having seen the same, changes nothing.
	if got := renew(store.Listed{Name: "a", Head: beyond}); got[0].Head != a || e.head("a") != a {
		t.Fatalf("renewed twice: %v; want it left at %s", got, a)
	}
	if w := e.put("a", "z"); w.Cursor != (feed.Cursor{Epoch: a.Epoch, Seq: 4}) {
		t.Fatalf("written again it is at %s; want seq 4 of %s", w.Cursor, a)
	}
	if w := e.put("gone", "z"); w.First != 1 || w.Cursor.Epoch != gone.Epoch {
		t.Fatalf("the empty feed, written, is at %+v", w)
	}

	var many []store.Listed
	for i := range 1000 {
		many = append(many, store.Listed{Name: feed.Name("many:" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))), Head: far})
	}
	if got := renew(many...); len(got) != 1000 {
		t.Fatalf("%d of 1,000 feeds were renewed", len(got))
	}
}
