package gormstore

import (
	"context"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Item reads one live item.
func (s *Store) Item(ctx context.Context, name feed.Name, key string) (feed.Item, error) {
	var item feed.Item
	err := s.inRead(ctx, "read an item", func(tx *gorm.DB) error {
		row, err := findFeed(tx, name)
		if err != nil {
			return err
		}
		var rows []itemRow
		err = tx.Where("feed_id = ? AND key = ? AND NOT deleted", row.ID, key).Limit(1).Find(&rows).Error
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return feed.ErrNoItem
		}
		item = feed.Item{Feed: name, Key: key, Cursor: row.at(rows[0].Seq), Value: []byte(*rows[0].Value)}
		return nil
	})
	return item, err
}
