package gormstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/doorbell-sync/doorbell/migrations"
)

// Migration is one step of a database's schema.
type Migration struct {
	Version int64
	File    string    // "00001_feeds_and_items.sql"
	Applied time.Time // zero: not yet
}

// Migrate brings the schema of the Postgres database at url up to date, and says which steps it took. It works in the
// first schema of the connection's search_path. Several at once are safe: one works, the others wait for it, and then find
// nothing to do. Old and new services go on during it.
//
// Errors: store.ErrUnavailable, ctx's.
func Migrate(ctx context.Context, url string) ([]Migration, error) {
	var done []Migration
	err := withProvider(url, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		if partial, stopped := errors.AsType[*goose.PartialError](err); stopped {
			results = partial.Applied
		}
		for _, r := range results {
			done = append(done, Migration{Version: r.Source.Version, File: r.Source.Path, Applied: time.Now()})
		}
		return err
	})
	return done, pgFault("migrate the database", err)
}

// MigrationStatus lists all steps, in their order, and which of them have been taken. On a new database it makes
// the table that keeps the versions.
//
// Errors: store.ErrUnavailable, ctx's.
func MigrationStatus(ctx context.Context, url string) ([]Migration, error) {
	var all []Migration
	err := withProvider(url, func(p *goose.Provider) error {
		status, err := p.Status(ctx)
		for _, s := range status {
			all = append(all, Migration{Version: s.Source.Version, File: s.Source.Path, Applied: s.AppliedAt})
		}
		return err
	})
	return all, pgFault("read the database's version", err)
}

// withProvider runs f on a pool of its own: a migration may take longer than a service's statements may.
func withProvider(url string, f func(*goose.Provider) error) error {
	const long = 10 * time.Second // to connect: an operator waits, and no request does
	pool, err := openPool(url, Options{
		MaxConns: 2, ConnectTimeout: long, StatementTimeout: -1, LockTimeout: -1, IdleTimeout: -1,
	})
	if err != nil {
		return err
	}
	provider, err := newProvider(goose.DialectPostgres, pool, "postgres", goose.WithSessionLocker(migrationLock{}))
	if err != nil {
		return errors.Join(err, pool.Close())
	}
	return errors.Join(f(provider), pool.Close())
}

func newProvider(
	dialect goose.Dialect, pool *sql.DB, folder string, options ...goose.ProviderOption,
) (*goose.Provider, error) {
	files, err := fs.Sub(migrations.FS, folder)
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(dialect, pool, files, append(options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}

// migrationLock is an advisory lock on the schema: goose's own lets schemas wait for each other, and looks once in five
// seconds. It asks again and again instead of waiting in the database, where a waiter's snapshot would block the CREATE
// INDEX CONCURRENTLY that it waits for.
type migrationLock struct{}

// The two numbers are one lock: the first is Doorbell's, "DOOR".
const migrationLockID = "x'444f4f52'::int, hashtext(current_schema())"

const migrationLockEvery = 50 * time.Millisecond

func (migrationLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	for {
		var held bool
		err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock("+migrationLockID+")").Scan(&held)
		if err != nil || held {
			return err
		}
		select {
		case <-time.After(migrationLockEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (migrationLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock("+migrationLockID+")")
	return err
}
