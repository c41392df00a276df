package doorbell

import (
	"fmt"
	"slices"
	"testing"
)

func cursors(texts ...string) backlog {
	var all backlog
	for _, text := range texts {
		c, err := parseCursor(text)
		if err != nil {
			panic(err)
		}
		all = append(all, c)
	}
	return all
}

func TestBacklogIsNeverChangedInPlace(t *testing.T) {
	var b backlog
	for _, c := range cursors("0k00001-2", "0k00001-3", "0k00001-5") {
		b, _ = b.with(c)
	}
	one, _ := b.beyond(cursors("0k00001-2")[0]).with(cursors("0k00001-6")[0])
	other, _ := b.with(cursors("0k00001-7")[0])
	if !slices.Equal(one, cursors("0k00001-3", "0k00001-5", "0k00001-6")) {
		t.Errorf("one view is %v", one)
	}
	if !slices.Equal(other, cursors("0k00001-2", "0k00001-3", "0k00001-5", "0k00001-7")) {
		t.Errorf("the other is %v", other)
	}
}

func TestBacklogForgets(t *testing.T) {
	var b backlog
	for n := range maxBacklog {
		var forgot bool
		if b, forgot = b.with(cursors(fmt.Sprintf("0k00001-%d", n+1))[0]); forgot || len(b) != n+1 {
			t.Fatalf("after %d heads it remembers %v", n+1, b)
		}
	}
	for _, text := range []string{"0k00001-17", "0k00002-0"} {
		if more, forgot := b.with(cursors(text)[0]); !forgot || !slices.Equal(more, cursors(text)) {
			t.Errorf("with %s it remembers %v", text, more)
		}
	}
}

// TestWhatIsReachedIsNotRemembered: who is on time has room for all that may come.
func TestWhatIsReachedIsNotRemembered(t *testing.T) {
	b := newInbox()
	at := func(seq int) cursor { return cursors(fmt.Sprintf("0k00001-%d", seq))[0] }
	b.setHave(at(1))
	for seq := 2; seq <= 5*maxBacklog; seq++ {
		b.changed(at(seq), 0, "")
		b.setHave(at(seq))
	}
	for n := range maxBacklog {
		b.changed(at(1000+100*n), 0, "")
	}
	if now := b.view(); len(now.ahead) != maxBacklog || !now.gap.isZero() {
		t.Errorf("it remembers %d heads, and up to %q others may know more", len(now.ahead), now.gap.text)
	}
}

func TestDeltasAddUp(t *testing.T) {
	change := func(seq int64, key string, deleted bool) Change { return Change{Key: key, Seq: seq, Deleted: deleted} }
	one := &Page{Since: "0k00001-1", Cursor: "0k00001-5", Trimmed: 1, Changes: []Change{
		change(2, "trimmed", false), change(3, "again", false), change(4, "kept", false), change(5, "gone", false),
	}}
	two := &Page{Since: "0k00001-5", Cursor: "0k00001-8", Trimmed: 2, Changes: []Change{
		change(6, "again", false), change(7, "gone", true), change(8, "new", false),
	}}
	sum := (*Page)(nil).and(one).and(two)
	want := []Change{change(4, "kept", false), change(6, "again", false), change(7, "gone", true), change(8, "new", false)}
	if fmt.Sprint(sum.Changes) != fmt.Sprint(want) || sum.Since != one.Since || sum.Cursor != two.Cursor || sum.Trimmed != 2 {
		t.Errorf("the sum is %+v", sum)
	}
	if len(one.Changes) != 4 || len(two.Changes) != 3 {
		t.Error("the parts have changed")
	}
	state, whole := State{}, State{}
	for _, s := range []*State{&state, &whole} {
		s.set(change(1, "old", false))
	}
	state.applyPage(one)
	state.applyPage(two)
	whole.applyPage(sum)
	if fmt.Sprint(state) != fmt.Sprint(whole) {
		t.Errorf("one after the other: %v; their sum: %v", state, whole)
	}
}
