package gormstore

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Purge removes old tombstones and raises the floors of their feeds, feed by feed.
func (s *Store) Purge(ctx context.Context, scope feed.Scope, before time.Time) (int64, error) {
	names, err := s.purgeable(ctx, scope, before)
	if err != nil {
		return 0, err
	}
	var removed int64
	var errs []error
	for _, name := range names { // one feed's trouble must not keep the others' tombstones for ever
		n, err := s.purgeFeed(ctx, name, before)
		removed += n
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return removed, errors.Join(errs...)
}

// purgeable lists the feeds in scope that have tombstones from before the given time.
func (s *Store) purgeable(ctx context.Context, scope feed.Scope, before time.Time) ([]feed.Name, error) {
	var names []feed.Name
	err := s.inRead(ctx, "look for old tombstones", func(tx *gorm.DB) error {
		tombstones := tx.Model(&itemRow{}).Select("feed_id").Where("deleted AND changed_at < ?", before.UnixMilli())
		q := tx.Model(&feedRow{}).Where("id IN (?)", tombstones)
		switch {
		case !scope.Except:
			q = q.Where("namespace IN ?", scope.Namespaces)
		case len(scope.Namespaces) > 0: // NOT IN () would hold for nothing
			q = q.Where("namespace NOT IN ?", scope.Namespaces)
		}
		return q.Order("name").Pluck("name", &names).Error
	})
	return names, err
}

func (s *Store) purgeFeed(ctx context.Context, name feed.Name, before time.Time) (removed int64, err error) {
	err = s.inWrite(ctx, "purge a feed", func(tx *gorm.DB) error {
		row, err := lockFeed(tx, name)
		if err != nil {
			return err
		}
		var newest *int64
		err = tx.Model(&itemRow{}).Select("MAX(seq)").
			Where("feed_id = ? AND deleted AND changed_at < ?", row.ID, before.UnixMilli()).Scan(&newest).Error
		if err != nil || newest == nil { // gone since we looked
			return err
		}
		// Up to a seq and not by time: below the floor every tombstone may be missing, so none is of use.
		gone := tx.Where("feed_id = ? AND deleted AND seq <= ?", row.ID, *newest).Delete(&itemRow{})
		if gone.Error != nil {
			return gone.Error
		}
		removed = gone.RowsAffected
		row.Floor = max(row.Floor, *newest)
		return updateFeed(tx, row)
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}
