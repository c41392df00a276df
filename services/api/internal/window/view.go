package window

import (
	"cmp"
	"errors"
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// errElsewhere says that a view can't tell, and the store has to be asked.
var errElsewhere = errors.New("not in the window")

// View is what is held of a feed at one head: its recent changes, and where it is small, all of its items. It is
// immutable, but for the answers that are kept with it.
type View struct {
	// Head is the feed's; zero: there is no such feed.
	Head feed.Cursor

	trimmed int64
	// rows are changes in seq order, each key once: every change beyond base, and where whole, every live item.
	rows  []feed.Change
	base  int64
	whole bool
	bytes int // of rows, in memory
	live  int // of the live items among them, in an answer

	answers answers
}

// rowMemory is about what a row takes in memory beside its key and value.
const rowMemory = 96

func newView(head feed.Cursor, trimmed, base int64, whole bool, rows []feed.Change) *View {
	v := &View{Head: head, trimmed: trimmed, base: base, whole: whole, rows: rows}
	for _, c := range rows {
		v.bytes += len(c.Key) + len(c.Value) + rowMemory
		if !c.Deleted {
			v.live += store.Size(c)
		}
	}
	return v
}

// Exists tells whether there is such a feed.
func (v *View) Exists() bool { return !v.Head.IsZero() }

// Snapshot tells how many bytes a snapshot is about, if all of it is here.
func (v *View) Snapshot() (bytes int, ok bool) { return v.live, v.whole }

// Delta answers as the store would have at Head, but for resets that the store alone decides. Errors: feed.ErrNoFeed,
// *feed.ResetError for an older epoch, errElsewhere.
func (v *View) Delta(q store.Query) (feed.Delta, error) {
	if !v.Exists() {
		return feed.Delta{}, feed.ErrNoFeed
	}
	since := q.Since
	if q.BareSeq {
		since.Epoch = v.Head.Epoch
	}
	// As the store: live items beyond since.Seq, and tombstones beyond dead; base is the walk's.
	base, dead := int64(0), since.Seq
	switch {
	case since.IsZero():
		base, dead = v.Head.Seq, v.Head.Seq
	case since.Epoch < v.Head.Epoch: // epochs never come back
		return feed.Delta{}, &feed.ResetError{Reason: feed.ResetEpoch, Head: v.Head}
	case since.Epoch > v.Head.Epoch, since.Seq > v.Head.Seq, since.Base > v.Head.Seq:
		return feed.Delta{}, errElsewhere
	case since.Seq == 0 && !since.Walk():
		base, dead = v.Head.Seq, v.Head.Seq
	case since.Seq < since.Base:
		base, dead = since.Base, since.Base
	}
	if dead < v.base || (since.Seq < v.base && !v.whole) {
		return feed.Delta{}, errElsewhere
	}
	changes, more := pick(v.rows[v.after(since.Seq):], dead, q)
	d := feed.Delta{Since: since, Cursor: v.Head, More: more, Trimmed: v.trimmed, Changes: changes, Head: v.Head}
	if more {
		d.Changes, d.Cursor.Seq = store.Cut(changes)
		if d.Cursor.Seq < base {
			d.Cursor.Base = base
		}
	}
	return d, nil
}

// Item finds a key's latest change. known: the view can tell; live: and there is such an item.
func (v *View) Item(key string) (c feed.Change, live, known bool) {
	for _, c := range v.rows {
		if c.Key == key {
			return c, !c.Deleted, true
		}
	}
	return feed.Change{}, false, v.whole
}

// after is the index of the first row beyond seq.
func (v *View) after(seq int64) int {
	i, _ := slices.BinarySearchFunc(v.rows, seq+1, func(c feed.Change, seq int64) int { return cmp.Compare(c.Seq, seq) })
	return i
}

// pick takes rows until one of q's bounds is reached, leaving out tombstones up to dead.
func pick(rows []feed.Change, dead int64, q store.Query) (picked []feed.Change, more bool) {
	size, shared := 0, true // shared: nothing was left out yet, so that picked can be a part of rows
	for i, c := range rows {
		if c.Deleted && c.Seq <= dead {
			if shared {
				picked, shared = slices.Clone(rows[:i]), false
			}
			continue
		}
		n := i
		if !shared {
			n = len(picked)
		}
		size += store.Size(c)
		if n == q.Limit || (n > 0 && size > q.MaxBytes) {
			if shared {
				picked = rows[:i:i]
			}
			return picked, true
		}
		if !shared {
			picked = append(picked, c)
		}
	}
	if shared {
		picked = rows
	}
	return picked, false
}

// advanced is the view after d, a delta since a seq of v's epoch up to v's head that reaches d's head. v may be nil.
//
// Nothing between is missed: up to d.Since v has every change beyond its base, beyond it d has. A purge doesn't
// matter: it takes tombstones that v has already seen, or else makes d a reset.
func (v *View) advanced(d feed.Delta, most bounds) *View {
	if v == nil {
		return most.apply(newView(d.Head, d.Trimmed, d.Since.Seq, false, d.Changes))
	}
	if d.Head == v.Head && d.Since.Seq == v.Head.Seq {
		return v
	}
	changed := make(map[string]struct{}, len(d.Changes))
	for _, c := range d.Changes {
		changed[c.Key] = struct{}{}
	}
	old := v.rows[:v.after(d.Since.Seq)]
	rows := make([]feed.Change, 0, len(old)+len(d.Changes))
	for _, c := range old {
		if _, again := changed[c.Key]; !again && c.Seq > d.Trimmed {
			rows = append(rows, c)
		}
	}
	rows = append(rows, d.Changes...)
	return most.apply(newView(d.Head, d.Trimmed, min(v.base, d.Since.Seq), v.whole, rows))
}

// completed is the view that d, a whole snapshot, makes of v, which may be nil. v's tombstones stay where it was at the
// same head.
func (v *View) completed(d feed.Delta, most bounds) *View {
	if v == nil || v.Head != d.Head {
		return most.apply(newView(d.Head, d.Trimmed, d.Head.Seq, true, d.Changes))
	}
	rows := make([]feed.Change, 0, len(d.Changes)+len(v.rows))
	rows = append(rows, d.Changes...)
	for _, c := range v.rows {
		if c.Deleted {
			rows = append(rows, c)
		}
	}
	slices.SortFunc(rows, func(a, b feed.Change) int { return cmp.Compare(a.Seq, b.Seq) })
	return most.apply(newView(d.Head, d.Trimmed, v.base, true, rows))
}

// bounds are what one feed's rows may come to.
type bounds struct{ rows, bytes int }

func (b bounds) exceeded(v *View) bool { return len(v.rows) > b.rows || v.bytes > b.bytes }

// apply lets go of what is oldest: tombstones first, so that snapshots can go on being served, then the rest.
func (b bounds) apply(v *View) *View {
	if !b.exceeded(v) {
		return v
	}
	half := bounds{b.rows * 3 / 4, b.bytes * 3 / 4} // some room, so that not every change has to make some
	if v.whole {
		live := make([]feed.Change, 0, len(v.rows))
		for _, c := range v.rows {
			if !c.Deleted {
				live = append(live, c)
			}
		}
		if kept := newView(v.Head, v.trimmed, v.Head.Seq, true, live); !half.exceeded(kept) {
			return kept
		}
	}
	bytes, from := 0, len(v.rows)
	for ; from > v.after(v.base); from-- {
		c := v.rows[from-1]
		bytes += len(c.Key) + len(c.Value) + rowMemory
		if len(v.rows)-from+1 > half.rows || bytes > half.bytes {
			break
		}
	}
	base := v.base
	if from > 0 {
		base = max(base, v.rows[from-1].Seq)
	}
	return newView(v.Head, v.trimmed, base, false, slices.Clone(v.rows[from:]))
}
