// Package gormstore is the [store.Store] on relational databases, through GORM. One store, several dialects: the
// statements are the same for all of them, and what differs (opening, locks, which errors mean "not now") is in the
// dialect's file.
//
// A write holds the feed's row lock from its first statement to its commit; that lock is what makes seqs visible in order
// and without gaps. A read is one read-only transaction on one snapshot.
package gormstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Store is the store on one database. It is safe for concurrent use.
type Store struct {
	// static after construction
	write   *gorm.DB
	read    *gorm.DB // may be write
	dialect dialect
	now     func() time.Time
	pause   func() // tests: see breathe
	replica bool   // it may be behind
	pulse   *pulse // nil: nobody looks whether the database still answers

	running sync.Map // the IDs of the store.Onces under way in this process
}

var _ store.Store = (*Store)(nil)

// dialect is what a database does in its own way.
type dialect struct {
	name string
	// readTx makes a transaction that sees one snapshot.
	readTx *sql.TxOptions
	// unavailable tells whether an error means that the database can't be used right now.
	unavailable func(error) bool
	// undone tells whether an error means that the database has rolled the transaction back for the sake of another one.
	undone func(error) bool
	// stale tells whether an error of a transaction's beginning means that the connection was dead already.
	stale func(error) bool
	// unconnected tells whether an error means that a connection could not be made.
	unconnected func(error) bool
	// claim takes a lock that no other process holds, until the transaction ends, and tells whether it could; nil: there is no
	// other process.
	claim func(tx *gorm.DB, id int64) (bool, error)
	// explain says more about errors that need it; may be nil.
	explain func(error) error

	// renewing is a statement that lets the transaction write feeds although the database has been rewound; "": any may.
	renewing string
	// rewound says in a read whether the database has been, as an ErrRewound; nil: it can't be behind our back.
	rewound func(tx *gorm.DB) error

	// inPlace tells what has become of the database behind our back; nil: nothing can.
	inPlace func() error

	conns       int           // how many connections the pool may hold
	beginWithin time.Duration // to get a connection and begin a transaction on it; 0: as long as the call may take
	timeout     time.Duration // for a whole call; 0: as long as its context says
}

func never(error) bool { return false }

// Close closes the database. Closing twice is fine.
func (s *Store) Close() error {
	errs := []error{closeDB(s.read), s.pulse.close()}
	if s.write != s.read {
		errs = append(errs, closeDB(s.write))
	}
	return errors.Join(errs...)
}

func closeDB(db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

// Ping tells whether the database answers, and has the tables that it needs, the latest one included.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.inPlace(); err != nil {
		return s.fault("ping", err)
	}
	return s.inRead(ctx, "ping", func(tx *gorm.DB) error {
		var some bool
		return tx.Raw("SELECT EXISTS (SELECT 1 FROM feeds) OR EXISTS (SELECT 1 FROM lineage)").Scan(&some).Error
	})
}
