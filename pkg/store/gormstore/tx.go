package gormstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

const (
	// tries is how often a transaction is made that the database keeps undoing for the sake of others.
	tries = 6
	// retryAfter is the longest pause before the second try; it doubles with each.
	retryAfter = 4 * time.Millisecond
	// commitGrace is how long a commit that has begun outlives the call that asked for it.
	commitGrace = time.Second
)

var (
	errNoConnection = errors.New("got no connection in time")
	errTooLong      = errors.New("the transaction took too long")
)

// inWrite runs f in a transaction that is committed when f returns nil. f may run several times.
func (s *Store) inWrite(ctx context.Context, what string, f func(tx *gorm.DB) error) error {
	if err := s.inPlace(); err != nil {
		return s.fault(what, err)
	}
	err := s.inTx(ctx, what, s.write, nil, func(tx *gorm.DB) error {
		err := f(tx)
		s.breathe()
		return err
	})
	if err == nil { // into what is still there
		err = s.fault(what, s.inPlace())
	}
	return err
}

func (s *Store) inPlace() error {
	if s.dialect.inPlace == nil {
		return nil
	}
	return s.dialect.inPlace()
}

// inRead runs f in a read-only transaction on one snapshot. f may run several times.
func (s *Store) inRead(ctx context.Context, what string, f func(tx *gorm.DB) error) error {
	return s.inTx(ctx, what, s.read, s.dialect.readTx, f)
}

// breathe is where tests slow a write down: with the feed's lock held.
func (s *Store) breathe() {
	if s.pause != nil {
		s.pause()
	}
}

// inTx runs f in a transaction, and again when the database has undone it. Only what is known to be undone is tried again:
// a connection that is lost during the commit leaves the outcome unknown, and is an error.
func (s *Store) inTx(
	ctx context.Context, what string, db *gorm.DB, opts *sql.TxOptions, f func(tx *gorm.DB) error,
) error {
	if s.dialect.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.dialect.timeout, errTooLong)
		defer cancel()
	}
	most := retryAfter
	for try := 1; ; try++ {
		err := s.once(ctx, db, opts, f)
		if err != nil && errors.Is(context.Cause(ctx), errTooLong) {
			err = fmt.Errorf("%w: %w", errTooLong, err)
		}
		if try == tries || err == nil || !s.dialect.undone(err) {
			return s.fault(what, err)
		}
		select {
		case <-time.After(rand.N(most)):
			most *= 2
		case <-ctx.Done():
			return s.fault(what, fmt.Errorf("%w: %w", context.Cause(ctx), err))
		}
	}
}

// once makes one transaction. It has a context of its own, which ends with ctx until f has succeeded: then the commit
// alone is left, and one that is torn off halfway would leave nobody knowing.
func (s *Store) once(ctx context.Context, db *gorm.DB, opts *sql.TxOptions, f func(tx *gorm.DB) error) error {
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	leave := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer leave()

	// Its statements have a context of their own as well: while one is under way, the end of own waits for it.
	run, end := context.WithCancelCause(ctx)
	defer end(nil)
	if err := s.pulse.watch(run, func(err error) { end(err); cancel(err) }); err != nil {
		return err
	}

	tx, err := s.begin(own, cancel, db, opts)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return err
	}
	s.pulse.answered()
	committed := false
	defer func() {
		if !committed { // also when f panics
			tx.Rollback()
		}
	}()
	if err := f(tx.WithContext(run)); err != nil {
		if errors.Is(context.Cause(run), errMute) {
			err = fmt.Errorf("%w: %w", errMute, err)
		}
		return err
	}
	s.pulse.answered()
	if !leave() {
		return ctx.Err()
	}
	defer context.AfterFunc(ctx, func() { time.AfterFunc(commitGrace, func() { cancel(errTooLong) }) })()
	committed = true
	err = tx.Commit().Error
	if err != nil && own.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(own), err)
	}
	return err
}

// begin begins a transaction within the dialect's time for that. Connections of the pool that turn out to be dead, as after
// a restart of the database, are passed over: nothing was asked of them yet. And so is one failure to connect, because
// the pool may hand out one from before the database came back.
func (s *Store) begin(
	ctx context.Context, cancel context.CancelCauseFunc, db *gorm.DB, opts *sql.TxOptions,
) (*gorm.DB, error) {
	if within := s.dialect.beginWithin; within > 0 {
		timer := time.AfterFunc(within, func() { cancel(errNoConnection) })
		defer timer.Stop()
	}
	refused := 0
	for try := 0; ; try++ {
		tx := db.WithContext(ctx).Begin(opts)
		err := tx.Error
		if err == nil {
			return tx, nil
		}
		if cause := context.Cause(ctx); errors.Is(cause, errNoConnection) || errors.Is(cause, errMute) {
			return nil, fmt.Errorf("%w (%s): %w", cause, s.dialect.beginWithin, err)
		}
		switch {
		case ctx.Err() != nil || try > s.dialect.conns:
			return nil, err
		case s.dialect.stale(err):
		case s.dialect.unconnected(err) && refused == 0:
			refused++
		default:
			return nil, err
		}
	}
}

// fault says what was tried, and marks errors that may pass.
func (s *Store) fault(what string, err error) error {
	switch {
	case err == nil, isDomain(err):
		return err
	}
	if s.dialect.explain != nil {
		err = s.dialect.explain(err)
	}
	switch {
	case errors.Is(err, store.ErrUnavailable): // it says so itself
	case errors.Is(err, errNoConnection), errors.Is(err, errTooLong), errors.Is(err, errMute), s.dialect.unavailable(err):
		return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
