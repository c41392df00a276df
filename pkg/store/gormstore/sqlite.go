package gormstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/glebarez/sqlite"
	"github.com/pressly/goose/v3"
	"gorm.io/gorm"
)

// sqliteReaders is how many reads happen side by side; more would wait for the disk all the same.
const sqliteReaders = 8

// OpenSQLite opens the database file at path, makes it if it isn't there, and brings its schema up to date. One connection
// writes, with the database's write lock from a transaction's first statement on; several read, each transaction on
// its own snapshot (WAL). A commit is on the disk before it is acknowledged. When the file is another one than the last time, as
// after a backup was copied back, all feeds get new epochs; a file that is removed while it is open takes no writes any more.
func OpenSQLite(ctx context.Context, path string, o Options) (*Store, error) {
	const common = "_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"
	write, err := openSQLite(path, common+"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate", 1)
	if err != nil {
		return nil, err
	}
	if err := migrateSQLite(ctx, write); err != nil {
		return nil, errors.Join(err, closeDB(write))
	}
	read, err := openSQLite(path, common+"&_pragma=query_only(1)", sqliteReaders)
	if err != nil {
		return nil, errors.Join(err, closeDB(write))
	}
	s := &Store{write: write, read: read, now: o.Now, dialect: dialect{
		name:        "sqlite",
		readTx:      &sql.TxOptions{ReadOnly: true}, // without the write lock
		unavailable: sqliteUnavailable,
		undone:      never, // there is one writer
		stale:       never,
		unconnected: never,
	}, pause: o.pause}
	if s.now == nil {
		s.now = time.Now
	}
	at, err := placeOf(path)
	if err == nil {
		s.dialect.inPlace = at.check
		err = s.settle(ctx, nameOf(at.info), o.Logger)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openSQLite(path, query string, connections int) (*gorm.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query}).String()
	db, err := gorm.Open(sqlite.Open(dsn), gormConfig())
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return db, nil
}

// sqliteUnavailable: another process holds the lock, or the disk is full or failing.
func sqliteUnavailable(err error) bool {
	const busy, locked, ioerr, full = 5, 6, 10, 13 // https://www.sqlite.org/rescode.html
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		switch coded.Code() & 0xff {
		case busy, locked, ioerr, full:
			return true
		}
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// migrateSQLite brings the schema up to date. Nobody else can be at it: the connection holds the write lock.
func migrateSQLite(ctx context.Context, db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	provider, err := newProvider(goose.DialectSQLite3, pool, "sqlite")
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}
