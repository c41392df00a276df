package gormstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

const (
	// believedFor is how long a replica counts as one of the primary's history before that is looked at again.
	believedFor = 5 * time.Second
	// restAfterFault and restAfterBehind are how long a replica is left alone that failed, or was behind.
	restAfterFault  = 2 * time.Second
	restAfterBehind = 100 * time.Millisecond
	// replicaTimeout bounds one call of a replica: the primary has to have time left to answer in its place.
	replicaTimeout = 1500 * time.Millisecond
)

// errNotEnough says that the replica's snapshot doesn't cover what was asked for.
var errNotEnough = errors.New("the replica is behind")

// replicas are streaming replicas of the primary, asked in turn. It is safe for concurrent use.
type replicas struct {
	// static
	primary *Postgres
	all     []*replica

	turn     atomic.Uint64
	answered atomic.Int64
	behind   atomic.Int64
	failed   atomic.Int64
}

// replica is one of them.
type replica struct {
	store *Store // static

	mu sync.Mutex
	// Guarded by mu.
	believed bool
	checkAt  time.Time // when to look again whether it is one of the primary's history
	restTill time.Time
}

// ReplicaStats count what came of asking replicas.
type ReplicaStats struct {
	// Answered reads were the replica's; those it was Behind for or Failed were the primary's.
	Answered, Behind, Failed int64
}

// openReplicas makes the pools of o.Replicas, and no connection yet.
func openReplicas(primary *Postgres, o Options) (*replicas, error) {
	if len(o.Replicas) == 0 {
		return nil, nil //nolint:nilnil // none is fine
	}
	r := &replicas{primary: primary}
	if o.Timeout <= 0 || o.Timeout > replicaTimeout {
		o.Timeout = replicaTimeout
	}
	for i, url := range o.Replicas {
		s, err := openPostgres(url, o)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("replica %d: %w", i+1, err), r.close())
		}
		s.replica = true
		s.dialect.rewound = nil // a standby writes no history, and decides no reset
		r.all = append(r.all, &replica{store: s})
	}
	return r, nil
}

func (r *replicas) close() error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, one := range r.all {
		errs = append(errs, one.store.Close())
	}
	return errors.Join(errs...)
}

// Close closes the database and its replicas. Closing twice is fine.
func (p *Postgres) Close() error { return errors.Join(p.replicas.close(), p.Store.Close()) }

// ReplicaStats are the figures since the store was opened.
func (p *Postgres) ReplicaStats() ReplicaStats {
	if p.replicas == nil {
		return ReplicaStats{}
	}
	return ReplicaStats{p.replicas.answered.Load(), p.replicas.behind.Load(), p.replicas.failed.Load()}
}

// Delta asks a replica where q allows it, and the primary when that has no good answer.
func (p *Postgres) Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error) {
	if p.replicas != nil && !q.Enough.IsZero() {
		if d, ok := p.replicas.delta(ctx, name, q); ok {
			return d, nil
		}
	}
	return p.Store.Delta(ctx, name, q)
}

// delta is a replica's answer, if one has a good one.
func (r *replicas) delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, bool) {
	one := r.pick(ctx)
	if one == nil {
		return feed.Delta{}, false
	}
	d, err := one.store.Delta(ctx, name, q)
	var reset *feed.ResetError
	switch {
	case err == nil && d.Head.Covers(q.Enough):
		r.answered.Add(1)
		return d, true
	case err == nil, errors.Is(err, errNotEnough), errors.Is(err, feed.ErrNoFeed):
		r.behind.Add(1)
		one.rest(restAfterBehind)
	case errors.As(err, &reset): // it may be right; that is for the primary to say
		r.behind.Add(1)
	case ctx.Err() == nil:
		r.failed.Add(1)
		one.rest(restAfterFault)
	}
	return feed.Delta{}, false
}

// pick gives the next replica that may be asked, or nil.
func (r *replicas) pick(ctx context.Context) *replica {
	turn := r.turn.Add(1)
	for i := range uint64(len(r.all)) {
		one := r.all[(turn+i)%uint64(len(r.all))]
		if one.usable(ctx, r.primary) {
			return one
		}
	}
	return nil
}

// usable tells whether the replica may be asked now. Of those that ask when it is time to look again, one looks.
func (one *replica) usable(ctx context.Context, primary *Postgres) bool {
	now := time.Now()
	one.mu.Lock()
	if now.Before(one.restTill) {
		one.mu.Unlock()
		return false
	}
	look, believed := now.After(one.checkAt), one.believed
	if look {
		one.checkAt = now.Add(believedFor)
	}
	one.mu.Unlock()
	if !look {
		return believed
	}
	same, err := one.follows(ctx, primary)
	one.mu.Lock()
	defer one.mu.Unlock()
	if err == nil {
		one.believed = same
	}
	// While one of the two doesn't answer, no new history can have begun that this store knows of; what was believed still is.
	return one.believed
}

// follows tells whether the replica is a standby, of the history that the primary's feeds are of. One that was left behind in a
// history of its own lacks the row that the primary's new history began with.
func (one *replica) follows(ctx context.Context, primary *Postgres) (bool, error) {
	var standby bool
	var its, want lineageRow
	var now string
	err := one.store.inRead(ctx, "look at a replica", func(tx *gorm.DB) (err error) {
		if err := tx.Raw("SELECT pg_is_in_recovery()").Scan(&standby).Error; err != nil {
			return err
		}
		its, err = lineage(tx)
		return err
	})
	if err != nil {
		one.rest(restAfterFault)
		return false, err
	}
	err = primary.inRead(ctx, "compare a replica", func(tx *gorm.DB) (err error) {
		if want, err = lineage(tx); err != nil {
			return err
		}
		now, err = systemID(tx)
		return err
	})
	// A primary that has been rewound has the same row as before, until its feeds have new epochs.
	return standby && its == want && its.SystemID != "" && its.SystemID == now, err
}

// rest leaves the replica alone for a while.
func (one *replica) rest(d time.Duration) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.restTill = time.Now().Add(d)
}
