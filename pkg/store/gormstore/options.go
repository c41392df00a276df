package gormstore

import (
	"log/slog"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Options are what a store can be opened with. The zero Options are fine.
type Options struct {
	// Now is the clock that births and tombstones are marked with; nil: time.Now.
	Now func() time.Time
	// Logger is told of what an operator should know. nil: nobody is.
	Logger *slog.Logger

	// What follows is of Postgres alone. 0: the default; a negative time: no bound.

	// MaxConns is how many connections the store holds at most; default 16. One more looks, while a call takes long, whether the
	// database still answers.
	MaxConns int
	// ConnectTimeout is for making one connection; default 700 ms, unless the URL has a connect_timeout.
	ConnectTimeout time.Duration
	// BeginTimeout is for getting a connection, new or of the pool, and beginning a transaction on it; default 900 ms.
	// So a call is refused within that time when the database is down, mute, or so busy that calls pile up; and within that
	// time one ends that is under way when the database stops answering anybody.
	BeginTimeout time.Duration
	// Timeout is for a whole call with all its retries; default 10 s. It ends what the context doesn't.
	Timeout time.Duration
	// StatementTimeout, LockTimeout and IdleTimeout bound, in the database itself, each statement (default 5 s), each wait
	// for a lock (3 s), and how long a transaction may be left open between two statements (5 s). They are given when
	// connecting, as statement_timeout, lock_timeout and idle_in_transaction_session_timeout; the URL can have them, too.
	StatementTimeout, LockTimeout, IdleTimeout time.Duration

	// Replicas are URLs of streaming replicas of the database, which may answer reads (see store.Query).
	Replicas []string

	pause func() // tests: called in each write, with the lock held
}

const (
	defaultMaxConns         = 16
	defaultConnectTimeout   = 700 * time.Millisecond
	defaultBeginTimeout     = 900 * time.Millisecond
	defaultTimeout          = 10 * time.Second
	defaultStatementTimeout = 5 * time.Second
	defaultLockTimeout      = 3 * time.Second
	defaultIdleTimeout      = 5 * time.Second
)

func (o Options) withDefaults() Options {
	for field, value := range map[*time.Duration]time.Duration{
		&o.ConnectTimeout:   defaultConnectTimeout,
		&o.BeginTimeout:     defaultBeginTimeout,
		&o.Timeout:          defaultTimeout,
		&o.StatementTimeout: defaultStatementTimeout,
		&o.LockTimeout:      defaultLockTimeout,
		&o.IdleTimeout:      defaultIdleTimeout,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if o.MaxConns <= 0 {
		o.MaxConns = defaultMaxConns
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func gormConfig() *gorm.Config {
	return &gorm.Config{
		Logger: logger.Discard, // errors are returned, and logged by whoever gives up on them
		// Transactions are ours.
		SkipDefaultTransaction:   true,
		DisableNestedTransaction: true,
		// Columns by name: a service goes on while a migration adds one.
		QueryFields: true,
		// Opening needs no database that answers.
		DisableAutomaticPing: true,
	}
}
