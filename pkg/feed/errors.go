package feed

import (
	"errors"
	"fmt"
	"strconv"
)

var (
	// ErrNoFeed says that the feed doesn't exist (and never did, or its row is not there yet).
	ErrNoFeed = errors.New("no such feed")
	// ErrNoItem says that the feed exists and has no item with that key.
	ErrNoItem = errors.New("no such item")
)

// SyntaxError says that a text from outside is not a name, key or cursor, and what would be. Its message is
// meant for whoever sent the text.
type SyntaxError struct {
	What    string // "feed name", "key", "cursor"
	Input   string
	Problem string // "is empty"
	Allowed string // the rule, for people
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("the %s %s %s; allowed: %s", e.What, quote(e.Input), e.Problem, e.Allowed)
}

// ResetReason says why a delta can't be computed from where a reader is.
type ResetReason string

const (
	// ResetEpoch: the reader's cursor belongs to another epoch.
	ResetEpoch ResetReason = "epoch"
	// ResetFloor: tombstones that the reader hasn't seen have been purged.
	ResetFloor ResetReason = "floor"
	// ResetAhead: the reader's cursor is beyond the head, so the history it has read is not this one.
	ResetAhead ResetReason = "ahead"
)

// ResetError says that a reader has to start over from a snapshot that covers Head.
type ResetError struct {
	Reason ResetReason
	Head   Cursor
}

func (e *ResetError) Error() string {
	return fmt.Sprintf("a delta can't be computed from there (%s); start over from a snapshot at %s", e.Reason, e.Head)
}

// PreconditionError says that a conditional write's condition does not hold, and nothing was written.
type PreconditionError struct {
	// Key is the item whose condition failed; "" when it was the condition on the feed.
	Key string
	// Current is the cursor that the item or feed has; zero: it doesn't exist.
	Current Cursor
}

func (e *PreconditionError) Error() string {
	what := "the feed"
	if e.Key != "" {
		what = "the item " + quote(e.Key)
	}
	if e.Current.IsZero() {
		return what + " doesn't exist"
	}
	return what + " is at " + e.Current.String()
}

// quote keeps messages short and printable whatever came in.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
