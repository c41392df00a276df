package gormstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

var _ store.Renewer = (*Store)(nil)

// lineageRow is the one row of the table lineage.
type lineageRow struct {
	One      bool `gorm:"primaryKey"`
	SystemID string
	GoneBack int64
}

func (lineageRow) TableName() string { return "lineage" }

// systemID names the history that the Postgres writes now.
func systemID(tx *gorm.DB) (id string, err error) {
	err = tx.Raw("SELECT system_id()").Scan(&id).Error
	return id, err
}

// lineage reads the row; without one it is one of no history.
func lineage(tx *gorm.DB) (lineageRow, error) {
	var rows []lineageRow
	if err := tx.Limit(1).Find(&rows).Error; err != nil || len(rows) == 0 {
		return lineageRow{One: true}, err
	}
	return rows[0], nil
}

func (l lineageRow) save(tx *gorm.DB) error {
	return tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "one"}}, DoUpdates: clause.AssignmentColumns([]string{"system_id", "gone_back"}),
	}).Create(&l).Error
}

// rewound compares the history that is written with that of the feeds.
func rewound(tx *gorm.DB) (store.Rewind, error) {
	id, err := systemID(tx)
	if err != nil {
		return store.Rewind{}, err
	}
	known, err := lineage(tx)
	if err != nil || known.SystemID == id {
		return store.Rewind{}, err
	}
	return store.Rewind{ID: id, Late: known.SystemID == ""}, nil
}

func pgCheckRewound(tx *gorm.DB) error {
	r, err := rewound(tx)
	if err == nil && r.ID != "" {
		err = fmt.Errorf("%w: it writes %s now", store.ErrRewound, r.ID)
	}
	return err
}

// Rewound tells whether the database writes another history than its feeds are of: "<system identifier>.<timeline>". Each
// cluster has its own identifier, and a restore to some moment, as a promotion, begins a timeline.
func (p *Postgres) Rewound(ctx context.Context) (store.Rewind, error) {
	var r store.Rewind
	err := p.inRead(ctx, "look whether the database was rewound", func(tx *gorm.DB) (err error) {
		r, err = rewound(tx)
		return err
	})
	return r, err
}

// Suspend has writes refused if the database has gone back from the horizon.
func (p *Postgres) Suspend(ctx context.Context, since store.Horizon) error {
	return p.inWrite(ctx, "suspend writing", func(tx *gorm.DB) error {
		known, err := lineage(tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}))
		if err != nil {
			return err
		}
		now, err := readHorizon(tx, known)
		if err != nil {
			return err
		}
		then, ok := parseHorizon(since)
		if !ok || !now.behind(then) {
			return nil
		}
		known.SystemID, known.GoneBack = "", max(then.goneBack, now.goneBack)+1
		return known.save(tx)
	})
}

// Resume has writes accepted in the history of that id.
func (p *Postgres) Resume(ctx context.Context, id string) error {
	return p.inWrite(ctx, "resume writing", func(tx *gorm.DB) error {
		known, err := lineage(tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}))
		if err != nil {
			return err
		}
		now, err := systemID(tx)
		if err != nil {
			return err
		}
		if now != id {
			return fmt.Errorf("%w: it writes %s, not %s", store.ErrRewound, now, id)
		}
		known.SystemID = id
		return known.save(tx)
	})
}

// Renew moves feeds to later epochs than those that they were seen in.
func (s *Store) Renew(ctx context.Context, seen []store.Listed) ([]store.Listed, error) {
	seen = slices.Clone(seen)
	slices.SortFunc(seen, func(a, b store.Listed) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), b.Head.Compare(a.Head)) // the newest head of each first
	})
	seen = slices.CompactFunc(seen, func(a, b store.Listed) bool { return a.Name == b.Name })
	if len(seen) == 0 {
		return nil, nil
	}
	names := make([]string, len(seen))
	for i, l := range seen {
		names[i] = string(l.Name)
	}
	var now []feedRow
	err := s.inWrite(ctx, "give feeds new epochs", func(tx *gorm.DB) error {
		if s.dialect.renewing != "" {
			if err := tx.Exec(s.dialect.renewing).Error; err != nil {
				return err
			}
		}
		named := func(tx *gorm.DB) *gorm.DB { return tx.Where("name IN ?", fewShapes(slices.Clone(names))).Order("name") }
		var rows []feedRow
		if err := named(tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})).Find(&rows).Error; err != nil {
			return err
		}
		if err := upsertEpochs(tx, s.renewed(rows, seen)); err != nil {
			return err
		}
		return named(tx.Select("name", "epoch", "head")).Find(&now).Error
	})
	if err != nil {
		return nil, err
	}
	return listedOf(now), nil
}

// renewed gives the rows that are to be written. Those of feeds that exist are for their epochs alone.
func (s *Store) renewed(rows []feedRow, seen []store.Listed) []feedRow {
	epochs := make(map[string]feed.Epoch, len(rows))
	for _, row := range rows {
		epochs[row.Name] = feed.Epoch(row.Epoch)
	}
	now := s.now()
	var write []feedRow
	for _, l := range seen {
		epoch := epochs[string(l.Name)]
		if epoch > l.Head.Epoch { // since then it has got another already
			continue
		}
		write = append(write, feedRow{
			Name: string(l.Name), Namespace: l.Name.Namespace(),
			Epoch: int64(feed.NextEpoch(l.Head.Epoch, now)), ChangedAt: now.UnixMilli(),
		})
	}
	return write
}

func upsertEpochs(tx *gorm.DB, rows []feedRow) error {
	for len(rows) > 0 {
		n := shapeOf(len(rows))
		err := tx.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "name"}},
			// Who was born meanwhile keeps an epoch that is later still.
			DoUpdates: clause.Assignments(map[string]any{
				"epoch": gorm.Expr("CASE WHEN excluded.epoch > feeds.epoch THEN excluded.epoch ELSE feeds.epoch END"),
			}),
		}).Create(rows[:n]).Error
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
