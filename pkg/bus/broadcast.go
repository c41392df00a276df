package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of what nodes tell each other.
const (
	// MaxBroadcast is the most that a message may hold, in bytes.
	MaxBroadcast = 16 << 10
	// MaxTopic is the longest a topic or the name of a set may be, in bytes: lower-case letters and '-'.
	MaxTopic = 32
	// MaxEntry is the longest an entry of a set may be, in bytes.
	MaxEntry = 512
)

// ErrTooLarge says that a message or an entry is larger than the bus carries.
var ErrTooLarge = errors.New("too large for the signal bus")

// Broadcaster is what a Bus can do that lets the nodes tell each other more than heads. It promises nothing: messages get lost
// where the bus is, and nobody is told who has heard one. What must not be lost belongs into a [Keeper] as well.
type Broadcaster interface {
	// Broadcast has a message heard by everyone who listens to the topic, on all nodes, this one included. It returns once
	// the message is on its way.
	//
	// Errors: ErrUnavailable, ErrClosed, ErrTooLarge, and ctx's.
	Broadcast(ctx context.Context, topic string, message []byte) error

	// Listen tells l what is said on the topic from now on. The result ends it: once it has returned, l is not called any
	// more. Stopping twice is fine; stopping from within l is not.
	Listen(topic string, l Listener) (stop func())
}

// Listener hears messages. Its methods are called one at a time and may take their time: what comes too fast is dropped,
// and a gap is told. Messages of one node come in the order in which they were sent.
type Listener interface {
	// Hear is called with each message, which is l's to keep.
	Hear(message []byte)
	// Gap says that messages from before this call may have been missed: once at the beginning, when the bus can be heard,
	// and each time that it has been lost and found again.
	Gap()
}

// Keeper is what a Bus can do that remembers entries for the nodes, each until a time. A set only grows: an entry never ends sooner
// than anybody has said. A server that loses its memory loses entries; nodes that have them put them back.
type Keeper interface {
	// Keep adds entries to the set, or keeps them for longer. All sizes are looked at before any is kept.
	//
	// Errors: ErrUnavailable, ErrClosed, ErrTooLarge, and ctx's; some entries may be kept all the same.
	Keep(ctx context.Context, set string, entries ...Entry) error
	// Kept gives the entries that have not ended, in no order, and at most about so many. The errors are those of Keep.
	Kept(ctx context.Context, set string, most int) ([]Entry, error)
}

// Entry is in a set until a time, of which milliseconds count.
type Entry struct {
	Text  string
	Until time.Time
}

// CheckBroadcast gives ErrTooLarge, or a mistake of the caller's in the topic.
func CheckBroadcast(topic string, message []byte) error {
	if err := CheckTopic(topic); err != nil {
		return err
	}
	if len(message) > MaxBroadcast {
		return fmt.Errorf("a message of %d bytes on %s: %w", len(message), topic, ErrTooLarge)
	}
	return nil
}

// CheckEntries is CheckBroadcast for a set's entries.
func CheckEntries(set string, entries []Entry) error {
	if err := CheckTopic(set); err != nil {
		return err
	}
	for _, e := range entries {
		if len(e.Text) > MaxEntry {
			return fmt.Errorf("an entry of %d bytes in %s: %w", len(e.Text), set, ErrTooLarge)
		}
	}
	return nil
}

// CheckTopic tells what is wrong with the name of a topic or set.
func CheckTopic(topic string) error {
	if topic == "" || len(topic) > MaxTopic {
		return fmt.Errorf("the topic %q is %d bytes long; allowed: 1 to %d", topic, len(topic), MaxTopic)
	}
	for i := range len(topic) {
		if c := topic[i]; (c < 'a' || c > 'z') && c != '-' {
			return fmt.Errorf("the topic %q has a %q; allowed: a to z, and '-'", topic, c)
		}
	}
	return nil
}
