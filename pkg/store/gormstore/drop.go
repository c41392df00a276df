package gormstore

import (
	"context"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Drop removes the feed's items and history and keeps its row, with the next epoch.
func (s *Store) Drop(ctx context.Context, name feed.Name, ifHead *feed.Cursor) (feed.Cursor, error) {
	var head feed.Cursor
	err := s.inWrite(ctx, "drop a feed", func(tx *gorm.DB) error {
		row, err := lockFeed(tx, name)
		if err != nil {
			return err
		}
		if ifHead != nil && *ifHead != row.head() {
			return &feed.PreconditionError{Current: row.head()}
		}
		if err := tx.Where("feed_id = ?", row.ID).Delete(&itemRow{}).Error; err != nil {
			return err
		}
		now := s.now()
		row = feedRow{
			ID: row.ID, ChangedAt: now.UnixMilli(),
			Epoch: int64(feed.NextEpoch(feed.Epoch(row.Epoch), now)),
		}
		head = row.head()
		return updateFeed(tx, row)
	})
	if err != nil {
		return feed.Cursor{}, err
	}
	return head, nil
}
