package gormstore

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// SystemID names the database's history: "<system identifier>.<timeline>". Each cluster has its own identifier, and a
// restore or a promotion begins a timeline.
//
// Errors: store.ErrUnavailable.
func (p *Postgres) SystemID(ctx context.Context) (string, error) {
	var id string
	err := p.inRead(ctx, "read the system's id", func(tx *gorm.DB) (err error) {
		id, err = systemID(tx)
		return err
	})
	return id, err
}

// systemID: the timeline is that of the log being written, because the control file's lags behind a promotion.
func systemID(tx *gorm.DB) (id string, err error) {
	err = tx.Raw("SELECT system_identifier || '.' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)" +
		" FROM pg_control_system()").Scan(&id).Error
	return id, err
}

// Changed lists the feeds written by transactions that were committed since, and the horizon to go on from. The
// horizon is the database's system id and a snapshot: which transactions had been committed, however long each had
// been open. So each is found exactly once, and one that stays open holds up no other's.
func (p *Postgres) Changed(ctx context.Context, since store.Horizon) ([]store.Listed, store.Horizon, error) {
	var rows []feedRow
	var next store.Horizon
	err := p.inRead(ctx, "look for changed feeds", func(tx *gorm.DB) error {
		id, err := systemID(tx)
		if err != nil {
			return err
		}
		var now string
		if err := tx.Raw("SELECT pg_current_snapshot()::text").Scan(&now).Error; err != nil {
			return err
		}
		next = store.Horizon(id + "/" + now)
		if since == "" {
			return nil
		}
		snapshot, ours := strings.CutPrefix(string(since), id+"/")
		if !ours {
			return fmt.Errorf("%w: %q, and this is %s", store.ErrHorizon, since, id)
		}
		// The first condition is the index's. The last leaves out what a restore has brought along from another system.
		return tx.Select("name", "epoch", "head").Where("xid >= pg_snapshot_xmin(CAST(@since AS pg_snapshot))"+
			" AND NOT pg_visible_in_snapshot(xid, CAST(@since AS pg_snapshot))"+
			" AND xid < pg_snapshot_xmax(pg_current_snapshot())",
			map[string]any{"since": snapshot}).Order("name").Find(&rows).Error
	})
	if err != nil {
		return nil, "", err
	}
	return listedOf(rows), next, nil
}
