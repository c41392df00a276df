package gormstore

import (
	"errors"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// feedRow is a row of the table feeds; migrations say what its columns mean.
type feedRow struct {
	ID        int64
	Name      string
	Namespace string
	Epoch     int64
	Head      int64
	Floor     int64
	Trimmed   int64
	Items     int64
	ChangedAt int64
	// unborn: made by this very transaction, so that for its conditions the feed doesn't exist yet.
	unborn bool
}

func (feedRow) TableName() string { return "feeds" }

func (r feedRow) head() feed.Cursor { return r.at(r.Head) }

func (r feedRow) at(seq int64) feed.Cursor {
	return feed.Cursor{Epoch: feed.Epoch(r.Epoch), Seq: seq}
}

// itemRow is a row of the table items: a key's latest change.
type itemRow struct {
	FeedID    int64
	Key       string
	Seq       int64
	Deleted   bool
	Value     *string
	ChangedAt int64
}

func (itemRow) TableName() string { return "items" }

// findFeed reads the feed's row. It returns feed.ErrNoFeed when there is none.
func findFeed(tx *gorm.DB, name feed.Name) (feedRow, error) {
	var rows []feedRow
	err := tx.Where("name = ?", string(name)).Limit(1).Find(&rows).Error
	if err == nil && len(rows) == 0 {
		err = feed.ErrNoFeed
	}
	if err != nil {
		return feedRow{}, err
	}
	return rows[0], nil
}

// lockFeed is findFeed, and holds the row's lock until the transaction ends.
func lockFeed(tx *gorm.DB, name feed.Name) (feedRow, error) {
	return findFeed(tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}), name)
}

// isDomain tells whether err is an answer and not a fault.
func isDomain(err error) bool {
	var reset *feed.ResetError
	var precondition *feed.PreconditionError
	return errors.Is(err, feed.ErrNoFeed) || errors.Is(err, feed.ErrNoItem) ||
		errors.As(err, &reset) || errors.As(err, &precondition) || isOnce(err)
}
