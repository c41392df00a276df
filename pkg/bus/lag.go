package bus

import "time"

// Lagger is what a Bus can do that sends itself messages the way signals go.
type Lagger interface {
	// Lag is how long the last one took from being published to being received, on the slowest of the connections; while one is
	// under way for longer than that, how long it has been. So it grows while nothing comes. 0: none has been sent yet.
	Lag() time.Duration
}
