package store

import (
	"errors"
	"time"
)

// OutcomesKept is how long the outcome of a write with a [Once] is kept at least.
const OutcomesKept = 24 * time.Hour

var (
	// ErrRunning says that the write is being done right now, by another call.
	ErrRunning = errors.New("this write is being done right now")
	// ErrReused says that another write was done under this name.
	ErrReused = errors.New("another write was done under this name")
)

// Once lets a write happen once, however often it is asked for. Its outcome is committed in the write's own transaction, a
// refusal (*feed.PreconditionError, feed.ErrNoFeed) too: whoever didn't hear of it asks again and is told, even if the
// process died in between.
//
// Of calls with one ID one does the write. The others get a *[Repeated] once that is committed, ErrRunning until then, and
// ErrReused when their Digest is another one. A call that ends with any other error, ErrUnavailable above all, may
// be made again: either it has happened, or it happens now.
type Once struct {
	ID     [32]byte
	Digest [32]byte // of all that was asked for
	// Answer is the text to keep of an outcome: what was written (after Drop, its Cursor alone counts), or err. It is called
	// within the transaction, perhaps several times.
	Answer func(w Written, err error) []byte
}

// Repeated is the error of a write that was done before: nothing was done now.
type Repeated struct {
	// Answer is what was kept then, byte for byte.
	Answer []byte
}

func (*Repeated) Error() string { return "this write was done before" }
