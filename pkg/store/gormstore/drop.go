package gormstore

import (
	"context"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Drop removes the feed's items and history and keeps its row, with the next epoch.
func (s *Store) Drop(ctx context.Context, name feed.Name, ifHead *feed.Cursor, once *store.Once) (feed.Cursor, error) {
	written, err := s.inWriteOnce(ctx, "drop a feed", once, s.settled(func(tx *gorm.DB) (store.Written, bool, error) {
		row, err := lockFeed(tx, name)
		if err != nil {
			return store.Written{}, false, err
		}
		if ifHead != nil && *ifHead != row.head() {
			return store.Written{}, false, &feed.PreconditionError{Current: row.head()}
		}
		if err := tx.Where("feed_id = ?", row.ID).Delete(&itemRow{}).Error; err != nil {
			return store.Written{}, true, err
		}
		now := s.now()
		row = feedRow{
			ID: row.ID, ChangedAt: now.UnixMilli(),
			Epoch: int64(feed.NextEpoch(feed.Epoch(row.Epoch), now)),
		}
		return store.Written{Cursor: row.head()}, true, updateFeed(tx, row)
	}))
	return written.Cursor, err
}
