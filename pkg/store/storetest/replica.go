package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// replica is a reader: what a client builds from deltas, and the checks that a careful one would make.
type replica struct {
	reader store.Reader
	name   feed.Name

	cursor feed.Cursor
	items  map[string]held
	pages  int // read so far
	resets int // started over so far
}

// held is an item as a reader has it.
type held struct {
	seq   int64
	value string
}

func newReplica(reader store.Reader, name feed.Name) *replica {
	return &replica{reader: reader, name: name, items: map[string]held{}}
}

// pull reads and applies one page of up to limit changes, and tells whether there are more. On a reset it starts over.
func (r *replica) pull(ctx context.Context, limit int) (more bool, err error) {
	d, err := r.reader.Delta(ctx, r.name, store.Query{Since: r.cursor, Limit: limit, MaxBytes: 1 << 20})
	var reset *feed.ResetError
	switch {
	case errors.As(err, &reset):
		r.cursor, r.items = feed.Cursor{}, map[string]held{}
		r.resets++
		return true, nil
	case errors.Is(err, feed.ErrNoFeed) && r.cursor.IsZero():
		return false, nil
	case err != nil:
		return false, err
	}
	r.pages++
	return d.More, r.apply(d, limit)
}

// catchUp pulls until nothing is left. Being sent back to the beginning again and again is an error.
func (r *replica) catchUp(ctx context.Context, limit int) error {
	const most = 100 // resets: far more than anybody purges meanwhile
	for before := r.resets; r.resets-before < most; {
		if more, err := r.pull(ctx, limit); err != nil || !more {
			return err
		}
	}
	return fmt.Errorf("%d resets and still not there: a loop", most)
}

func (r *replica) apply(d feed.Delta, limit int) error {
	switch {
	case d.Since != r.cursor:
		return fmt.Errorf("asked for a delta since %s, got one since %s", r.cursor, d.Since)
	case len(d.Changes) > limit:
		return fmt.Errorf("asked for %d changes, got %d", limit, len(d.Changes))
	case d.More && len(d.Changes) == 0:
		return fmt.Errorf("an empty page since %s says there is more: a loop", d.Since)
	case !d.More && d.Cursor != d.Head:
		return fmt.Errorf("the last page ends at %s, the head is %s", d.Cursor, d.Head)
	case !d.Head.Covers(d.Cursor):
		return fmt.Errorf("the page ends at %s, beyond the head %s", d.Cursor, d.Head)
	case !r.cursor.IsZero() && d.Cursor.Compare(r.cursor) < 0:
		return fmt.Errorf("the cursor went back from %s to %s", r.cursor, d.Cursor)
	}
	last := d.Since.Seq
	for _, c := range d.Changes {
		if c.Seq <= last || c.Seq > d.Cursor.Seq {
			return fmt.Errorf("seq %d after %d in a delta to %s", c.Seq, last, d.Cursor)
		}
		last = c.Seq
		switch {
		case c.Deleted && (d.Since.IsZero() || d.Since.Seq == 0):
			return fmt.Errorf("a tombstone of %q in a snapshot", c.Key)
		case c.Deleted:
			delete(r.items, c.Key)
		default:
			r.items[c.Key] = held{seq: c.Seq, value: string(c.Value)}
		}
	}
	maps.DeleteFunc(r.items, func(_ string, h held) bool { return h.seq <= d.Trimmed })
	r.cursor = d.Cursor
	return nil
}

// sameItems says how what a reader has differs from the truth; "": not at all.
func sameItems(got, want map[string]held) string {
	for key, w := range want {
		g, ok := got[key]
		switch {
		case !ok:
			return fmt.Sprintf("%q (seq %d) is missing", key, w.seq)
		case g != w:
			return fmt.Sprintf("%q is %v; want %v", key, g, w)
		}
	}
	for key, g := range got {
		if _, ok := want[key]; !ok {
			return fmt.Sprintf("%q (seq %d) should be gone", key, g.seq)
		}
	}
	return ""
}
