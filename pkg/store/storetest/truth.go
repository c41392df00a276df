package storetest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// ack is a write that was acknowledged, and with what.
type ack struct {
	write   store.Write
	written store.Written
}

// truth is a feed's state worked out from the acknowledged writes alone, without the store.
type truth struct {
	items   map[string]held
	head    int64
	trimmed int64
}

func newTruth() *truth { return &truth{items: map[string]held{}} }

// apply does the write and checks that the store has numbered it as it should have.
func (t *truth) apply(a ack) error {
	if a.written.First != t.head+1 {
		return fmt.Errorf("a write begins at seq %d; the one before it ended at %d", a.written.First, t.head)
	}
	for _, e := range a.write.Edits {
		if _, exists := t.items[e.Key]; e.Deleted && !exists {
			continue
		}
		t.head++
		if e.Deleted {
			delete(t.items, e.Key)
		} else {
			t.items[e.Key] = held{seq: t.head, value: string(e.Value)}
		}
	}
	if a.write.Touch {
		t.head++
	}
	if a.written.Cursor.Seq != t.head {
		return fmt.Errorf("the write that begins at seq %d ends at %d; want %d", a.written.First, a.written.Cursor.Seq, t.head)
	}
	if excess := len(t.items) - a.write.MaxItems; a.write.MaxItems > 0 && excess > 0 {
		t.trim(excess)
	}
	return nil
}

func (t *truth) trim(excess int) {
	type entry struct {
		key string
		seq int64
	}
	all := make([]entry, 0, len(t.items))
	for key, h := range t.items {
		all = append(all, entry{key, h.seq})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	for _, e := range all[:excess] {
		delete(t.items, e.key)
		t.trimmed = e.seq
	}
}

// truthOf puts acknowledged writes of one feed in the order of their seqs and applies them: any skipped or repeated seq
// is an error.
func truthOf(acks []ack) (*truth, error) {
	t := newTruth()
	acks = slices.Clone(acks)
	// A write that changed nothing shares its First with the one after it; it comes before that one.
	slices.SortFunc(acks, func(a, b ack) int {
		return cmp.Or(cmp.Compare(a.written.First, b.written.First), cmp.Compare(a.written.Cursor.Seq, b.written.Cursor.Seq))
	})
	for _, a := range acks {
		if err := t.apply(a); err != nil {
			return nil, err
		}
	}
	return t, nil
}
