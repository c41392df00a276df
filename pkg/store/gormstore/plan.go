package gormstore

import (
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// plan is what a write comes to, worked out before anything is written.
type plan struct {
	before int64     // head before
	head   int64     // head after
	items  int64     // live items after, before any trim
	rows   []itemRow // one per key that changes: its last change
}

func (p plan) changes() bool { return p.head > p.before }

// makePlan weighs w against the feed as it is (the zero row: it doesn't exist) and what its edited keys hold. The error is a
// *feed.PreconditionError.
func makePlan(row feedRow, prior []itemRow, w store.Write) (plan, error) {
	var head feed.Cursor
	if row.ID != 0 && !row.unborn {
		head = row.head()
	}
	if w.IfHead != nil && *w.IfHead != head {
		return plan{}, &feed.PreconditionError{Current: head}
	}
	p := plan{before: row.Head, head: row.Head, items: row.Items, rows: make([]itemRow, 0, len(w.Edits))}
	live := make(map[string]int64, len(prior)) // key → seq
	for _, item := range prior {
		if !item.Deleted {
			live[item.Key] = item.Seq
		}
	}
	last := make(map[string]int, len(w.Edits)) // key → index in p.rows
	for _, e := range w.Edits {
		seq, exists := live[e.Key]
		if e.If != nil {
			var current feed.Cursor
			if exists {
				current = row.at(seq)
			}
			if *e.If != current {
				return plan{}, &feed.PreconditionError{Key: e.Key, Current: current}
			}
		}
		item := itemRow{Key: e.Key, Deleted: e.Deleted}
		switch {
		case e.Deleted && !exists:
			continue
		case e.Deleted:
			delete(live, e.Key)
			p.items--
		default:
			value := string(e.Value)
			item.Value = &value
			if !exists {
				p.items++
			}
			live[e.Key] = p.head + 1
		}
		p.head++
		item.Seq = p.head
		if i, again := last[e.Key]; again {
			p.rows[i] = item
			continue
		}
		last[e.Key] = len(p.rows)
		p.rows = append(p.rows, item)
	}
	if w.Touch {
		p.head++
	}
	return p, nil
}
