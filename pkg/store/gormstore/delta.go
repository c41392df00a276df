package gormstore

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Delta reads the changes beyond q.Since from one database snapshot.
func (s *Store) Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error) {
	var d feed.Delta
	err := s.inRead(ctx, "delta", func(tx *gorm.DB) error {
		row, err := findFeed(tx, name)
		if err != nil {
			return err
		}
		if s.replica && !row.head().Covers(q.Enough) {
			return errNotEnough
		}
		from, err := startOf(row, q)
		if err != nil {
			return s.orRewound(tx, err)
		}
		changes, more, err := readChanges(tx, row.ID, from, q)
		if err != nil {
			return err
		}
		d = feed.Delta{
			Feed: name, Since: from.since, Cursor: row.head(), More: more,
			Trimmed: row.Trimmed, Changes: changes, Head: row.head(),
		}
		if more {
			var end int64
			d.Changes, end = store.Cut(changes)
			d.Cursor = row.at(end)
			if d.Cursor.Seq < from.base {
				d.Cursor.Base = from.base
			}
		}
		return nil
	})
	return d, err
}

// orRewound holds back the news that a reader is ahead of the feed while the feed may be about to get a new epoch: before that,
// the snapshot that the reader is sent to would be older than what it has, in the same epoch.
func (s *Store) orRewound(tx *gorm.DB, err error) error {
	var reset *feed.ResetError
	if s.dialect.rewound == nil || !errors.As(err, &reset) || reset.Reason != feed.ResetAhead {
		return err
	}
	if rewound := s.dialect.rewound(tx); rewound != nil {
		return rewound
	}
	return err
}

// start is where a delta begins.
type start struct {
	since feed.Cursor
	// base is the head when the walk that this delta belongs to began; 0: a plain delta.
	base int64
}

// startOf tells where the delta begins in the feed's history, or a *feed.ResetError.
func startOf(row feedRow, q store.Query) (start, error) {
	since := q.Since
	if q.BareSeq {
		since = row.at(q.Since.Seq)
	}
	reset := func(reason feed.ResetReason) (start, error) {
		return start{}, &feed.ResetError{Reason: reason, Head: row.head()}
	}
	switch {
	case since.IsZero():
		return start{base: row.Head}, nil
	case since.Epoch > feed.Epoch(row.Epoch):
		return reset(feed.ResetAhead)
	case since.Epoch != feed.Epoch(row.Epoch):
		return reset(feed.ResetEpoch)
	case since.Seq > row.Head || since.Base > row.Head:
		return reset(feed.ResetAhead)
	case since.Seq == 0 && !since.Walk():
		// A reader that has nothing needs no tombstones, purged or not.
		return start{since: since, base: row.Head}, nil
	case since.Seq < since.Base:
		// The walk's own test: what was deleted before it began was never given out. Testing seq would make a feed
		// whose oldest live items lie below the floor impossible to load.
		if since.Base < row.Floor {
			return reset(feed.ResetFloor)
		}
		return start{since: since, base: since.Base}, nil
	case since.Seq < row.Floor:
		return reset(feed.ResetFloor)
	}
	return start{since: since}, nil
}

// readChanges reads rows until one of q's bounds is reached, and tells whether there are more.
func readChanges(tx *gorm.DB, feedID int64, from start, q store.Query) (changes []feed.Change, more bool, err error) {
	const columns = "key, seq, deleted, value"
	const first = " ORDER BY seq LIMIT @limit"
	// Bounded twice, so that each kind is read along its own index: otherwise Postgres sorts the whole feed for each page.
	//nolint:unqueryvet // the inner ones say which
	rows, err := tx.Raw(
		"SELECT * FROM (SELECT "+columns+" FROM items WHERE feed_id = @feed AND NOT deleted AND seq > @live"+first+") AS live"+
			" UNION ALL "+
			"SELECT * FROM (SELECT "+columns+" FROM items WHERE feed_id = @feed AND deleted AND seq > @dead"+first+") AS dead"+first,
		map[string]any{
			"feed": feedID, "live": from.since.Seq, "dead": max(from.since.Seq, from.base), "limit": q.Limit + 1,
		}).Rows()
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }() // its error is Err's
	size := 0
	for rows.Next() {
		var c feed.Change
		if err := rows.Scan(&c.Key, &c.Seq, &c.Deleted, &c.Value); err != nil {
			return nil, false, err
		}
		size += store.Size(c)
		if len(changes) == q.Limit || (len(changes) > 0 && size > q.MaxBytes) {
			more = true
			break
		}
		changes = append(changes, c)
	}
	return changes, more, rows.Err()
}
