package gormstore

import (
	"context"
	"errors"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Append does all of w in one transaction, or nothing.
func (s *Store) Append(ctx context.Context, name feed.Name, w store.Write) (store.Written, error) {
	return s.inWriteOnce(ctx, "append", w.Once, s.settled(func(tx *gorm.DB) (store.Written, bool, error) {
		row, err := lockFeed(tx, name)
		if errors.Is(err, feed.ErrNoFeed) {
			// Weighed before the feed is born, so that a write that fails or changes nothing leaves no feed behind.
			p, err := makePlan(feedRow{}, nil, w)
			if err != nil || !p.changes() {
				return store.Written{First: 1}, false, err
			}
			if row, err = s.bear(tx, name); err != nil {
				return store.Written{}, false, err
			}
		} else if err != nil {
			return store.Written{}, false, err
		}
		return s.appendLocked(tx, row, w)
	}))
}

// settled has f, which tells whether it has written, refused by a database that has been rewound although it wrote nothing:
// what is written the database refuses by itself, but "unchanged", or a failed precondition, would be of a feed that is about
// to get a new epoch.
func (s *Store) settled(f func(tx *gorm.DB) (w store.Written, wrote bool, err error)) func(tx *gorm.DB) (store.Written, error) {
	return func(tx *gorm.DB) (store.Written, error) {
		written, wrote, err := f(tx)
		if s.dialect.rewound != nil && !wrote && (err == nil || isDomain(err)) {
			if rewound := s.dialect.rewound(tx); rewound != nil {
				return store.Written{}, rewound
			}
		}
		return written, err
	}
}

// bear makes the feed's row and holds its lock; where somebody else has been first, it is their row.
func (s *Store) bear(tx *gorm.DB, name feed.Name) (feedRow, error) {
	now := s.now()
	made := tx.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "name"}}, DoNothing: true}).Create(&feedRow{
		Name: string(name), Namespace: name.Namespace(),
		Epoch: int64(feed.NextEpoch(0, now)), ChangedAt: now.UnixMilli(),
	})
	if made.Error != nil {
		return feedRow{}, made.Error
	}
	row, err := lockFeed(tx, name)
	row.unborn = made.RowsAffected > 0
	return row, err
}

// appendLocked writes w to a feed whose row the transaction holds, if that changes anything.
func (s *Store) appendLocked(tx *gorm.DB, row feedRow, w store.Write) (written store.Written, wrote bool, err error) {
	prior, err := priorItems(tx, row.ID, w.Edits)
	if err != nil {
		return store.Written{}, false, err
	}
	p, err := makePlan(row, prior, w)
	if err != nil {
		return store.Written{}, false, err
	}
	written = store.Written{Cursor: row.at(p.head), First: row.Head + 1}
	if !p.changes() {
		return written, false, nil
	}
	now := s.now().UnixMilli()
	s.breathe()
	if err := upsert(tx, row.ID, p.rows, now); err != nil {
		return store.Written{}, true, err
	}
	row.Head, row.Items, row.ChangedAt = p.head, p.items, now
	if excess := min(row.Items-int64(w.MaxItems), trimAtOnce); w.MaxItems > 0 && excess > 0 {
		if row.Trimmed, err = trim(tx, row.ID, excess); err != nil {
			return store.Written{}, true, err
		}
		row.Items -= excess
	}
	return written, true, updateFeed(tx, row)
}

// updateFeed writes what changes in a feed's row over time.
func updateFeed(tx *gorm.DB, row feedRow) error {
	return tx.Model(&feedRow{}).Where("id = ?", row.ID).
		Select("epoch", "head", "floor", "trimmed", "items", "changed_at").Updates(row).Error
}

// priorItems reads what the edited keys hold, tombstones included.
func priorItems(tx *gorm.DB, feedID int64, edits []feed.Edit) ([]itemRow, error) {
	if len(edits) == 0 {
		return nil, nil
	}
	keys := make([]string, len(edits))
	for i, e := range edits {
		keys[i] = e.Key
	}
	var rows []itemRow
	err := tx.Select("key", "seq", "deleted").Where("feed_id = ? AND key IN ?", feedID, fewShapes(keys)).Find(&rows).Error
	return rows, err
}

func upsert(tx *gorm.DB, feedID int64, rows []itemRow, now int64) error {
	for i := range rows {
		rows[i].FeedID, rows[i].ChangedAt = feedID, now
	}
	for len(rows) > 0 {
		n := shapeOf(len(rows))
		err := tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "feed_id"}, {Name: "key"}},
			DoUpdates: clause.AssignmentColumns([]string{"seq", "deleted", "value", "changed_at"}),
		}).Create(rows[:n]).Error
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// trimAtOnce is how many items one write drops, and how many tombstones: more than it can bring, so that a feed comes down to a
// bound that has been lowered, and as few as a slow database deletes within its statement timeout.
const trimAtOnce = 5000

// trim drops the feed's oldest live items, excess of them, and gives the highest seq dropped. Tombstones up to there go
// too: readers drop whatever they still have at or below it, so nobody needs them, and the floor stays. (Where there are very many,
// retention takes the rest.)
func trim(tx *gorm.DB, feedID, excess int64) (trimmed int64, err error) {
	err = tx.Model(&itemRow{}).Select("seq").Where("feed_id = ? AND NOT deleted", feedID).
		Order("seq").Offset(int(excess - 1)).Limit(1).Scan(&trimmed).Error
	if err != nil {
		return 0, err
	}
	for _, kind := range []string{"NOT deleted", "deleted"} {
		upTo, err := nth(tx, kind, feedID, trimmed, trimAtOnce)
		if err != nil {
			return 0, err
		}
		if err = tx.Where("feed_id = ? AND "+kind+" AND seq <= ?", feedID, upTo).Delete(&itemRow{}).Error; err != nil {
			return 0, err
		}
	}
	return trimmed, nil
}
