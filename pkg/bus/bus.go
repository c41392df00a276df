// Package bus is the contract of what ties the services together: heads and signals.
//
// A head is how far a feed's history has come. The bus keeps the newest one that anybody published, and tells
// everyone who follows the feed. Heads only move forward, so publishing twice, late, out of order or from two
// places is right; whatever was lost is found by comparing heads. The bus holds nothing that the store can't give
// back: losing it costs latency, never data.
//
//	API ── Publish(prices:BTC-KRW, …-1044) ──▶ head: set if newer ──▶ signal: if newer or equal ──▶ every follower
//
// Every implementation passes the suite in bustest. Implementations are safe for concurrent use.
package bus

import (
	"context"
	"errors"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// ErrUnavailable says that the bus can't be reached right now.
var ErrUnavailable = errors.New("the signal bus is unavailable")

// ErrClosed says that the bus or the subscription has been closed.
var ErrClosed = errors.New("the signal bus is closed")

// Head is what the bus knows of a feed. The zero Head is "not known right now".
type Head struct {
	// Known tells the two empty heads apart: known with a zero Cursor means that there is no such feed.
	Known  bool
	Cursor feed.Cursor
}

// At is a known head; the zero Cursor says that there is no such feed.
func At(c feed.Cursor) Head { return Head{Known: true, Cursor: c} }

// Newer tells whether h says more than g. Unknown comes before "no such feed", which comes before every cursor.
func (h Head) Newer(g Head) bool {
	if h.Known != g.Known {
		return h.Known
	}
	return h.Cursor.Compare(g.Cursor) > 0
}

// Covers tells whether a reader told of h has been told of c, too.
func (h Head) Covers(c feed.Cursor) bool { return h.Known && h.Cursor.Covers(c) }

// Bus carries heads and signals between processes.
type Bus interface {
	// Publish moves the feed's head forward to c, if c is newer, and signals the feed's followers, if c is newer than or
	// equal to the head (a signal may have been lost where a head was not). The zero Cursor says that there is no
	// such feed; any cursor is newer. c is never a walk cursor. It returns once the head is set.
	//
	// Where the feed has a signal interval, the head moves at once but followers are signalled at the next multiple of it
	// on the bus's clock, with the head as it is then.
	//
	// The trace that ctx has (see [WithTrace]) goes along with the signal of c, and with no other.
	//
	// Errors: ErrUnavailable, ErrClosed; the head may have moved all the same.
	Publish(ctx context.Context, name feed.Name, c feed.Cursor) error

	// Heads reads the heads of many feeds, in the order of names. Those that the bus doesn't know are asked for (see
	// Answer); it waits up to wait for the answers, and what is still not known then is the zero Head.
	//
	// Errors: ErrUnavailable, ErrClosed (also when that happens during the wait), and ctx's.
	Heads(ctx context.Context, names []feed.Name, wait time.Duration) ([]Head, error)

	// Subscribe makes a subscription that follows no feed yet and reports to f.
	Subscribe(f Follower) (Subscription, error)

	// Answer lets a be asked for heads that the bus doesn't know; any of those that there are, on any node, may be. What it
	// finds out it publishes. A bus without any leaves such heads unknown. The result ends it: once it has returned,
	// a is not called any more. Stopping twice is fine; stopping from within a is not.
	Answer(a Answerer) (stop func())

	// Alive tells whether the bus has been heard from within the last few seconds: whether its heads can be believed
	// without asking the store.
	Alive() bool

	// Close ends all subscriptions: once it has returned, no Follower, Answerer or Listener is called any more. Closing twice is
	// fine; closing from within one is not.
	Close() error
}

// Subscription is one party's ear on the bus: the gateway has one for all its connections. Feeds are counted
// per bus, so that any number of subscriptions cost each feed once. Its methods may be called concurrently, but
// for one feed at a time Follow and Unfollow must not race each other.
type Subscription interface {
	// Follow begins to follow feeds (those that it follows already stay as they are), and returns once signals for
	// all of them are live, with their heads read after that, in the order of names: whatever is published later
	// reaches the Follower, and whatever was published before is in the heads. Unknown heads are asked for as in
	// [Bus.Heads], for a short time; later answers come as signals.
	//
	// On an error (as of [Bus.Heads]) it follows none of those that it did not follow before.
	Follow(ctx context.Context, names ...feed.Name) ([]Head, error)
	// Unfollow ends following; a signal that is already under way may still come. Feeds that aren't followed are ignored.
	Unfollow(names ...feed.Name)
	// Close unfollows everything. After it has returned, the Follower is not called again. Closing twice is fine; closing
	// from within the Follower is not.
	Close()
}

// Follower is told what happens. Its methods are called one at a time per subscription and must not block; they must not
// call the subscription.
type Follower interface {
	// Signal says that the feed's head is at least h. Signals may repeat, and may be older than one seen before:
	// compare.
	Signal(name feed.Name, h Head)
	// Alive says that the bus was lost (false), or is back (true) with the newest heads of all followed feeds signalled
	// before this call. It is called on changes only; a subscription begins in the state that Bus.Alive tells. A loss
	// too short to be told may be left out; the heads are signalled again all the same.
	Alive(alive bool)
}

// Answerer finds out heads that the bus doesn't know (from the store) and publishes them, "no such feed"
// included. It is called with up to 1,000 names at a time, on a goroutine of its own.
type Answerer func(ctx context.Context, names []feed.Name)

// IntervalFunc gives a feed's signal interval; 0: every publish signals at once.
type IntervalFunc func(feed.Name) time.Duration
