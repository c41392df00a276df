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

// purgeAtOnce is how many tombstones one transaction removes: as few as a slow database deletes within its statement timeout, and
// writers wait for. However many there are, each step gets on.
const purgeAtOnce = 5000

func (s *Store) purgeFeed(ctx context.Context, name feed.Name, before time.Time) (removed int64, err error) {
	for {
		n, more, err := s.purgeSome(ctx, name, before)
		removed += n
		if err != nil || !more {
			return removed, err
		}
	}
}

// purgeSome removes a feed's oldest tombstones, and tells whether there are more to remove.
func (s *Store) purgeSome(ctx context.Context, name feed.Name, before time.Time) (removed int64, more bool, err error) {
	err = s.inWrite(ctx, "purge a feed", func(tx *gorm.DB) error {
		row, err := lockFeed(tx, name)
		if err != nil {
			return err
		}
		var newest *int64
		err = tx.Model(&itemRow{}).Select("MAX(seq)").
			Where("feed_id = ? AND deleted AND changed_at < ?", row.ID, before.UnixMilli()).Scan(&newest).Error
		if err != nil || newest == nil { // gone since we looked
			removed, more = 0, false
			return err
		}
		// Up to a seq and not by time: below the floor every tombstone may be missing, so none is of use.
		upTo, err := nth(tx, "deleted", row.ID, *newest, purgeAtOnce)
		if err != nil {
			return err
		}
		gone := tx.Where("feed_id = ? AND deleted AND seq <= ?", row.ID, upTo).Delete(&itemRow{})
		if gone.Error != nil {
			return gone.Error
		}
		removed, more = gone.RowsAffected, upTo < *newest
		row.Floor = max(row.Floor, upTo)
		return updateFeed(tx, row)
	})
	if err != nil {
		return 0, false, err
	}
	return removed, more, nil
}

// nth is the seq of the feed's nth oldest row of a kind, "deleted" or "NOT deleted" (each has an index of its own), if that is at
// most upTo, and upTo otherwise.
func nth(tx *gorm.DB, kind string, feedID, upTo int64, n int) (seq int64, err error) {
	var rows []int64
	err = tx.Model(&itemRow{}).Where("feed_id = ? AND "+kind+" AND seq <= ?", feedID, upTo).
		Order("seq").Offset(n-1).Limit(1).Pluck("seq", &rows).Error
	if err != nil || len(rows) == 0 {
		return upTo, err
	}
	return rows[0], nil
}
