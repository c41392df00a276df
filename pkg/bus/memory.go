package bus

import (
	"context"
	"errors"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// ErrForgotten says that the bus has lost heads since the life that a mark was meant for.
var ErrForgotten = errors.New("the signal bus has lost its memory meanwhile")

// Memory is what a Bus can do whose heads may be lost all at once, because they are kept by a server that is restarted,
// flushed or replaced by another. Whoever can tell all heads again looks at the mark often, and when it isn't Whole:
//
//	mark := Mark()            // remember its Life
//	…                         // publish every head that may be lost: since what mark.Text says; all when it's ""
//	SetMark(mark.Life, text)  // ErrForgotten: more has been lost meanwhile, begin again
//
// Several may do it at the same time. All methods fail with ErrUnavailable and ErrClosed.
type Memory interface {
	// Mark reads the mark. It needs one round trip.
	Mark(ctx context.Context) (Mark, error)
	// SetMark leaves a text, such as how far the heads that the bus has been told of go, in the life that it is about. The
	// error is ErrForgotten, and nothing is left, when that is over.
	SetMark(ctx context.Context, life, text string) error
	// Told gives each all heads that the bus knows, up to 1,000 at a time, in no order, and some of them perhaps twice. Those
	// that are published meanwhile may be among them. It ends with each's first error, which it returns.
	Told(ctx context.Context, each func([]Told) error) error
}

// Told is a feed and its head.
type Told struct {
	Name feed.Name
	Head Head
}

// Mark is what the bus remembers of itself.
type Mark struct {
	// Life is of the server's memory: another one may lack heads that were published in this one.
	Life string
	// Text is what was last left, in whichever life, as far as the server has kept it; "" when there is none.
	Text string
	// Whole says that the Text was left in this Life: nothing that was published since is lost.
	Whole bool
}
