package gormstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Postgres is the store on Postgres 14 or newer: all that [Store] is, and what only a database of several processes
// needs. It is safe for concurrent use.
type Postgres struct {
	*Store

	replicas *replicas // nil: there are none
}

var (
	_ store.Store      = (*Postgres)(nil)
	_ store.Sweepable  = (*Postgres)(nil)
	_ store.Rewindable = (*Postgres)(nil)
)

// OpenPostgres makes a store on the database at url ("postgres://user@host:5432/name?sslmode=…", or in the form of libpq's
// keywords). It connects when it is first used, so that a service can start before its database; [Store.Ping] tells
// whether it answers. The schema must be there: see [Migrate]. The error says what is wrong with url.
//
// A write runs at READ COMMITTED, where the statement that waits for the feed's lock reads the row as it is when the
// lock is got, and every later one sees all that was committed before; a read runs at REPEATABLE READ, on one snapshot.
// Behind a pooler that gives each transaction another connection, either let it track prepared statements or add
// default_query_exec_mode=exec to url, and set the timeouts in the database instead (see [Options]).
func OpenPostgres(_ context.Context, url string, o Options) (*Postgres, error) {
	o = o.withDefaults()
	s, err := openPostgres(url, o)
	if err != nil {
		return nil, err
	}
	p := &Postgres{Store: s}
	if s.pulse, err = newPulse(url, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if p.replicas, err = openReplicas(p, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

func openPostgres(url string, o Options) (*Store, error) {
	pool, err := openPool(url, o)
	if err != nil {
		return nil, err
	}
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), gormConfig())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", err), pool.Close())
	}
	return &Store{write: db, read: db, now: o.Now, pause: o.pause, dialect: dialect{
		name:        "postgres",
		readTx:      &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		unavailable: pgUnavailable,
		undone:      pgUndone,
		stale:       pgStale,
		unconnected: pgUnconnected,
		claim:       pgClaim,
		explain:     pgExplain,
		renewing:    "SELECT set_config('doorbell.renewing', 'on', true)",
		rewound:     pgCheckRewound,
		conns:       o.MaxConns,
		beginWithin: max(o.BeginTimeout, 0),
		timeout:     max(o.Timeout, 0),
	}}, nil
}

// openPool makes a pool of connections, and none yet.
func openPool(url string, o Options) (*sql.DB, error) {
	o = o.withDefaults()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the database's URL: %w", err)
	}
	if !strings.Contains(url, "connect_timeout") {
		config.ConnectTimeout = max(o.ConnectTimeout, 0)
	}
	setParam(config, "application_name", "doorbell")
	for name, bound := range map[string]time.Duration{
		"statement_timeout":                   o.StatementTimeout,
		"lock_timeout":                        o.LockTimeout,
		"idle_in_transaction_session_timeout": o.IdleTimeout,
	} {
		if bound > 0 {
			setParam(config, name, strconv.FormatInt(max(bound.Milliseconds(), 1), 10))
		}
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(o.MaxConns)
	pool.SetMaxIdleConns(o.MaxConns)
	// So that a pool comes back to what a failover or a balancer wants, and shrinks after a peak.
	pool.SetConnMaxLifetime(10 * time.Minute)
	pool.SetConnMaxIdleTime(2 * time.Minute)
	return pool, nil
}

// setParam sets a parameter that url doesn't.
func setParam(config *pgx.ConnConfig, name, value string) {
	if _, set := config.RuntimeParams[name]; !set {
		config.RuntimeParams[name] = value
	}
}

// SQLSTATE codes, from the appendix of Postgres's manual.
const (
	pgSerializationFailure = "40001"
	pgDeadlock             = "40P01"
	pgLockTimeout          = "55P03"
	pgQueryCancelled       = "57014" // statement_timeout, among others
	pgIdleTooLong          = "25P03"
	pgReadOnly             = "25006" // a primary that has become a standby
	pgBadText              = "22021"
	pgRewound              = "DBRWD" // ours: see the migration that makes lineage
	// A schema that isn't there, or is older than this program.
	pgNoTable, pgNoColumn, pgNoFunction, pgNoSchema = "42P01", "42703", "42883", "3F000"
)

func pgCode(err error) string {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return said.Code
	}
	return ""
}

// pgUndone: told so by the database, so it has rolled back, even when the commit is where it said so.
func pgUndone(err error) bool {
	code := pgCode(err)
	return code == pgSerializationFailure || code == pgDeadlock
}

// pgStale: the connection has died since it was last used, and this is how we hear of it. A connection that can't be made is
// something else.
func pgStale(err error) bool {
	return !pgUnconnected(err) && pgLost(err)
}

func pgUnconnected(err error) bool {
	var refused *pgconn.ConnectError
	return errors.As(err, &refused)
}

// pgLost: the connection is gone.
func pgLost(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, pgconn.ErrConnClosed) ||
		strings.HasPrefix(pgCode(err), "57P") // it shuts down, crashed, or is starting
}

func pgUnavailable(err error) bool {
	switch code := pgCode(err); code {
	case pgSerializationFailure, pgDeadlock, // every time we tried
		pgLockTimeout, pgQueryCancelled, pgIdleTooLong, pgReadOnly,
		pgNoTable, pgNoColumn, pgNoFunction, pgNoSchema: // until it has been migrated
		return true
	default:
		// No connection; out of connections, memory or disk; trouble with its files.
		if len(code) == 5 && (code[:2] == "08" || code[:2] == "53" || code[:2] == "58") {
			return true
		}
	}
	return pgUnconnected(err) || pgLost(err)
}

func pgClaim(tx *gorm.DB, id int64) (claimed bool, err error) {
	err = tx.Raw("SELECT pg_try_advisory_xact_lock(?)", id).Scan(&claimed).Error
	return claimed, err
}

// pgExplain says what the database's words mean here.
func pgExplain(err error) error {
	switch pgCode(err) {
	case pgBadText: // a text of Postgres is UTF-8 without U+0000, which neither a key nor JSON can hold as it is
		return fmt.Errorf("a name, key or value holds a NUL or what isn't UTF-8: %w", err)
	case pgNoTable, pgNoColumn, pgNoFunction, pgNoSchema:
		return fmt.Errorf(`the schema isn't there, or is older than this program; run "doorbell migrate up": %w`, err)
	case pgRewound:
		return fmt.Errorf("%w: %w", store.ErrRewound, err)
	case pgReadOnly:
		return fmt.Errorf("the database takes no writes; is it a standby? %w", err)
	}
	return err
}

// pgFault is fault for what is done without a store.
func pgFault(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case pgUnavailable(err):
		return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
