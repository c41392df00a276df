// Package store is the contract of Doorbell's truth: where feeds, their items and their history live.
//
// The one thing that everything else rests on: a write locks its feed, takes the feed's next seqs and commits, so
// that seqs become visible in order and without gaps. A reader that has seen seq n has seen, or can never miss,
// everything up to n. (A plain sequence commits out of order: a reader at 7 never sees the 6 that commits a moment
// later.)
//
//	Append ──▶ lock the feed's row ─▶ seqs head+1 … ─▶ upsert items ─▶ trim ─▶ commit
//	Delta  ──▶ one database snapshot: head, epoch, floor, trimmed, and the rows beyond since
//
// Every implementation passes the suite in storetest. Implementations are safe for concurrent use.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// ErrUnavailable says that the database can't be reached or doesn't answer right now; the call may be made again
// later. A write that ends so may have been committed all the same.
var ErrUnavailable = errors.New("the database is unavailable")

// Store is all of it. Code that needs less asks for [Writer], [Reader] or [Keeper].
type Store interface {
	Writer
	Reader
	Keeper
	// Close releases what the store holds. Calls under way end with an error.
	Close() error
}

// Writer changes feeds. When a call returns nil its outcome is durable; when it returns one of feed's errors nothing
// has changed. With any other error the outcome is unknown if the commit was already under way.
type Writer interface {
	// Append does all of w in one transaction, or nothing. A feed that doesn't exist is born, unless w changes nothing.
	// Writes to one feed happen one after the other, writes to different feeds side by side (as far as the
	// database allows).
	//
	// Errors: *feed.PreconditionError, ErrUnavailable; those of w.Once.
	Append(ctx context.Context, name feed.Name, w Write) (Written, error)

	// Drop removes the feed's items and history; its row stays, with a later epoch and head 0, and it reads as empty. The
	// result is the new head. ifHead is what the head must be (nil: anything), once may be nil.
	//
	// Errors: feed.ErrNoFeed, *feed.PreconditionError, ErrUnavailable; those of once.
	Drop(ctx context.Context, name feed.Name, ifHead *feed.Cursor, once *Once) (feed.Cursor, error)
}

// Write is one transaction on one feed.
type Write struct {
	// Edits happen in this order, each taking one seq, except that deleting an absent key is no change. Keys may repeat:
	// a later edit sees the earlier one, also in its If.
	Edits []feed.Edit
	// Touch takes one seq for no item: the head moves.
	Touch bool
	// IfHead is what the feed's head must be before the write; the zero Cursor: the feed must not exist. nil: no
	// condition.
	IfHead *feed.Cursor
	// MaxItems is how many items the feed may hold after the write; the oldest (by seq) beyond that are dropped in the same
	// transaction, without tombstones, and the feed's trimmed seq rises. 0: any number. A feed that holds thousands more, because
	// the bound was lowered, comes down with the writes that follow: each drops more than it can bring.
	MaxItems int
	// Once keeps the outcome, so that the write can be asked for again. nil: it isn't kept.
	Once *Once
}

// Written is a write's outcome.
type Written struct {
	// Cursor is the head after the write; zero when the feed doesn't exist and nothing changed.
	Cursor feed.Cursor
	// First is the seq of the write's first change: the head before it, plus 1. When the write changed nothing that is
	// Cursor.Seq + 1.
	First int64
}

// Changed tells whether the write took any seq.
func (w Written) Changed() bool { return w.First <= w.Cursor.Seq }

// Reader reads feeds. Each answer comes from one database snapshot.
type Reader interface {
	// Delta reads the changes beyond q.Since, in seq order, at most q.Limit of them and about q.MaxBytes (but at least
	// one, if there is one). One that doesn't reach the head ends where Cut says.
	//
	// From the beginning (a zero Since, or seq 0 of the current epoch) it reads live items only, and where they
	// don't fit its Cursor is a walk cursor. From a walk cursor it reads live items, and tombstones beyond Base, until
	// the walk has come up to Base, from where it is a plain delta.
	//
	// Errors: feed.ErrNoFeed; *feed.ResetError when Since is of another epoch, beyond the head, or below the floor (a walk's
	// Base counts there, not its Seq); ErrUnavailable.
	Delta(ctx context.Context, name feed.Name, q Query) (feed.Delta, error)

	// Item reads one live item.
	//
	// Errors: feed.ErrNoFeed, feed.ErrNoItem, ErrUnavailable.
	Item(ctx context.Context, name feed.Name, key string) (feed.Item, error)

	// Heads reads the heads of many feeds (up to 10,000 a call), in the order of names; zero: no such feed.
	Heads(ctx context.Context, names []feed.Name) ([]feed.Cursor, error)
}

// Query says which part of a feed's history to read.
type Query struct {
	Since feed.Cursor
	// BareSeq: Since.Seq is meant in the feed's current epoch, whatever that is; Since.Epoch and Base are 0.
	BareSeq bool
	// Limit is the most changes in the answer, at least 1.
	Limit int
	// MaxBytes bounds the keys and values in the answer, at least 1.
	MaxBytes int
	// Enough lets a read replica answer, as long as its snapshot covers this cursor and it has a delta to give; what it doesn't
	// know, the primary decides: that a feed doesn't exist, resets above all. Zero: the primary answers.
	Enough feed.Cursor
}

// Keeper is what runs behind the scenes.
type Keeper interface {
	// Purge removes tombstones of the feeds in scope that were made before the given time and raises those feeds' floors to
	// the highest seq removed: feed by feed, some at a time, each time a transaction under the feed's lock. The result is the number of
	// tombstones removed; with an error, of those removed until then.
	Purge(ctx context.Context, scope feed.Scope, before time.Time) (int64, error)

	// Forget removes the outcomes of writes (see [Once]) that were made before the given time, some at a time. The result is
	// their number; with an error, of those removed until then.
	Forget(ctx context.Context, before time.Time) (int64, error)

	// Feeds lists up to limit feeds with names after the given one ("" for the first), by name in byte order.
	Feeds(ctx context.Context, after feed.Name, limit int) ([]Listed, error)

	// Ping tells whether the database answers, and has the tables that it needs.
	Ping(ctx context.Context) error
}

// Listed is a feed and its head.
type Listed struct {
	Name feed.Name
	Head feed.Cursor
}
