package gormstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// outcomeRow is a row of the table outcomes.
type outcomeRow struct {
	ID     []byte `gorm:"primaryKey"`
	Digest []byte
	Answer []byte
	MadeAt int64
}

func (outcomeRow) TableName() string { return "outcomes" }

// forgetAtOnce is how many outcomes one transaction removes.
const forgetAtOnce = 5000

// inWriteOnce is inWrite, with what once (which may be nil) asks for around f. When f gives a refusal it must not have
// written anything.
func (s *Store) inWriteOnce(
	ctx context.Context, what string, once *store.Once, f func(tx *gorm.DB) (store.Written, error),
) (store.Written, error) {
	if once != nil {
		// A second call of this process would wait for its database connection, or the feed's lock, only to be told.
		if _, running := s.running.LoadOrStore(once.ID, true); running {
			return store.Written{}, store.ErrRunning
		}
		defer s.running.Delete(once.ID)
	}
	var written store.Written
	var refused error
	err := s.inWrite(ctx, what, func(tx *gorm.DB) (err error) {
		refused = nil
		if once != nil {
			if err := s.beginOnce(tx, once); err != nil {
				return err
			}
		}
		written, err = f(tx)
		if once == nil || (err != nil && !isDomain(err)) {
			return err
		}
		refused = err
		return tx.Create(&outcomeRow{
			ID: once.ID[:], Digest: once.Digest[:], Answer: once.Answer(written, err), MadeAt: s.now().UnixMilli(),
		}).Error
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return store.Written{}, err
	}
	return written, nil
}

// beginOnce finds out whether the write is still to be done: then nobody else does it until the transaction ends.
func (s *Store) beginOnce(tx *gorm.DB, once *store.Once) error {
	if s.dialect.claim != nil {
		claimed, err := s.dialect.claim(tx, int64(binary.BigEndian.Uint64(once.ID[:]))) // any 64 bits will do
		if err != nil {
			return err
		}
		if !claimed {
			return store.ErrRunning
		}
	}
	var rows []outcomeRow
	if err := tx.Where("id = ?", once.ID[:]).Limit(1).Find(&rows).Error; err != nil || len(rows) == 0 {
		return err
	}
	if !bytes.Equal(rows[0].Digest, once.Digest[:]) {
		return store.ErrReused
	}
	return &store.Repeated{Answer: rows[0].Answer}
}

// isOnce tells whether err is an answer that a store.Once gives.
func isOnce(err error) bool {
	var repeated *store.Repeated
	return errors.Is(err, store.ErrRunning) || errors.Is(err, store.ErrReused) || errors.As(err, &repeated)
}

// Forget removes outcomes from before the given time, some at a time.
func (s *Store) Forget(ctx context.Context, before time.Time) (forgotten int64, err error) {
	for {
		var n int64
		err := s.inWrite(ctx, "forget outcomes", func(tx *gorm.DB) error {
			old := tx.Model(&outcomeRow{}).Select("id").Where("made_at < ?", before.UnixMilli()).Order("made_at").Limit(forgetAtOnce)
			gone := tx.Where("id IN (?)", old).Delete(&outcomeRow{})
			n = gone.RowsAffected
			return gone.Error
		})
		if err != nil {
			return forgotten, err
		}
		forgotten += n
		if n < forgetAtOnce {
			return forgotten, nil
		}
	}
}
