package gormstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// lsnSlack is more than a crash can take back of what was on the disk: a part of one record of the log, which may hold images of
// several pages. Whoever loses less than that and a few writes is found by the walk.
const lsnSlack = 64 << 10

// horizon is a store.Horizon, "<system id>/<gone back>/<lsn>/<snapshot>".
type horizon struct {
	system   string // of systemID
	goneBack int64  // of the table lineage
	// lsn is up to where the log was on the disk, in bytes. Within a history that never goes back by more than lsnSlack.
	lsn int64
	// snapshot says which transactions had been committed, however long each had been open.
	snapshot string
}

func (h horizon) text() store.Horizon {
	return store.Horizon(fmt.Sprintf("%s/%d/%d/%s", h.system, h.goneBack, h.lsn, h.snapshot))
}

func parseHorizon(since store.Horizon) (h horizon, ok bool) {
	parts := strings.Split(string(since), "/")
	if len(parts) != 4 {
		return horizon{}, false
	}
	goneBack, err1 := strconv.ParseInt(parts[1], 10, 64)
	lsn, err2 := strconv.ParseInt(parts[2], 10, 64)
	return horizon{parts[0], goneBack, lsn, parts[3]}, err1 == nil && err2 == nil
}

// behind tells whether a database at h had come further, in the same history, when it was then.
func (h horizon) behind(then horizon) bool {
	return h.system == then.system &&
		(h.goneBack < then.goneBack || h.goneBack == then.goneBack && h.lsn+lsnSlack < then.lsn)
}

// readHorizon reads the present one.
func readHorizon(tx *gorm.DB, known lineageRow) (horizon, error) {
	h := horizon{goneBack: known.GoneBack}
	row := tx.Raw("SELECT system_id(), pg_current_wal_flush_lsn() - '0/0'::pg_lsn, pg_current_snapshot()::text").Row()
	return h, row.Scan(&h.system, &h.lsn, &h.snapshot)
}

// Changed lists the feeds written by transactions that were committed since, and the horizon to go on from. So each is found
// exactly once, and one that stays open holds up no other's.
func (p *Postgres) Changed(ctx context.Context, since store.Horizon) ([]store.Listed, store.Horizon, error) {
	var rows []feedRow
	var next store.Horizon
	err := p.inRead(ctx, "look for changed feeds", func(tx *gorm.DB) error {
		known, err := lineage(tx)
		if err != nil {
			return err
		}
		now, err := readHorizon(tx, known)
		if err != nil {
			return err
		}
		next = now.text()
		if since == "" {
			return nil
		}
		then, ok := parseHorizon(since)
		switch {
		case ok && now.behind(then):
			return fmt.Errorf("%w: it is at %s and was at %s", store.ErrRewound, next, since)
		case !ok, then.system != now.system, then.goneBack != now.goneBack:
			return fmt.Errorf("%w: %q, and this is %s", store.ErrHorizon, since, next)
		}
		// The first condition is the index's. The last leaves out what a restore has brought along from another system.
		return tx.Select("name", "epoch", "head").Where("xid >= pg_snapshot_xmin(CAST(@since AS pg_snapshot))"+
			" AND NOT pg_visible_in_snapshot(xid, CAST(@since AS pg_snapshot))"+
			" AND xid < pg_snapshot_xmax(pg_current_snapshot())",
			map[string]any{"since": then.snapshot}).Order("name").Find(&rows).Error
	})
	if err != nil {
		return nil, "", err
	}
	return listedOf(rows), next, nil
}
