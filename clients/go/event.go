package doorbell

import "errors"

// Kind says what an [Event] is.
type Kind uint8

const (
	// Changed: an item was put or deleted.
	Changed Kind = iota + 1
	// Reset: what was built so far is void, the feed's items follow as Changed. The feed was dropped, or its history
	// restarted, or the follower was away for longer than the feed remembers deletions.
	Reset
	// Trimmed: items whose seq is Event.Trimmed or lower are gone; no deletions are given for them.
	Trimmed
	// CaughtUp: everything up to Cursor has been given, and a consumer's copy is whole. Also when the feed moved
	// without any change of an item (a touch), and once at the beginning even if nothing had to be read.
	CaughtUp
)

func (k Kind) String() string {
	switch k {
	case Changed:
		return "changed"
	case Reset:
		return "reset"
	case Trimmed:
		return "trimmed"
	case CaughtUp:
		return "caught up"
	}
	return "unknown"
}

// Event is one step of a followed feed.
type Event struct {
	Kind    Kind
	Change  Change // Changed only
	Trimmed int64  // Trimmed only: a seq

	// Cursor is where a consumer that has applied this event, and stores its place, may go on from. It moves with the last
	// event of each page; resuming within a page gives that page's changes again, which does no harm. "" means
	// from the beginning (and with CaughtUp: the feed doesn't exist).
	Cursor string
}

// Mode is how a follower learns of changes.
type Mode uint8

const (
	// Connecting: at the beginning, or while nothing is known yet.
	Connecting Mode = iota
	// Live: signals arrive.
	Live
	// Polling: there are no signals to rely on, so the follower asks from time to time; it goes on trying
	// for signals.
	Polling
)

func (m Mode) String() string {
	switch m {
	case Connecting:
		return "connecting"
	case Live:
		return "live"
	case Polling:
		return "polling"
	}
	return "unknown"
}

// Status is how a follower is doing.
type Status struct {
	Mode Mode
	// Err is what the follower is trying to get over, by itself: a failed read (that first) or a failed
	// connection; nil when all is well.
	Err error
}

// ErrResetLoop is reported by a [Status] when a feed was reset three times within 10 s. The follower then waits 15 to 30 s
// before it starts over.
var ErrResetLoop = errors.New("doorbell: the feed is reset again and again")
