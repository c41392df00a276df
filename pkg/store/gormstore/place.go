package gormstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// place is where a SQLite database was when it was opened.
type place struct {
	path string
	info fs.FileInfo
}

func placeOf(path string) (place, error) {
	info, err := os.Stat(path)
	return place{path, info}, err
}

// check tells whether the database is still there. What is committed to a file that has been removed is lost with the process,
// and nothing in SQLite says so.
func (p place) check() error {
	info, err := os.Stat(p.path)
	if err == nil && os.SameFile(info, p.info) {
		return nil
	}
	if err == nil {
		err = errors.New("another file is in its place")
	}
	return fmt.Errorf("%w: its file was removed while it was open, so nothing can be kept in it; start anew: %w", store.ErrUnavailable, err)
}

// fileRow is the one row of SQLite's table lineage.
type fileRow struct {
	One  int `gorm:"primaryKey"`
	File string
}

func (fileRow) TableName() string { return "lineage" }

// settle gives all feeds new epochs when their file is another one than the last time: it may be a backup that was put in the
// place of a database of which clients have seen more. Nobody else has it open.
func (s *Store) settle(ctx context.Context, file string, log *slog.Logger) error {
	if file == "" {
		return nil
	}
	return s.inWrite(ctx, "look whether the database is a backup", func(tx *gorm.DB) error {
		var rows []fileRow
		if err := tx.Limit(1).Find(&rows).Error; err != nil {
			return err
		}
		if len(rows) > 0 {
			if rows[0].File == file {
				return nil
			}
			renewed := tx.Model(&feedRow{}).Where("1 = 1").
				UpdateColumn("epoch", gorm.Expr("MAX(epoch + 1, ?)", int64(feed.NextEpoch(0, s.now()))))
			if renewed.Error != nil {
				return renewed.Error
			}
			if log != nil && renewed.RowsAffected > 0 {
				log.WarnContext(ctx, "the database's file is another one than the last time, so it may be a backup: "+
					"all feeds get new epochs, and clients start over", "feeds", renewed.RowsAffected)
			}
		}
		return tx.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "one"}}, DoUpdates: clause.AssignmentColumns([]string{"file"}),
		}).Create(&fileRow{One: 1, File: file}).Error
	})
}
