// Package pace lets things through at so many a second, and so many at once after a quiet time. What it keeps per party is
// eight bytes.
package pace

import "time"

// start is what times are counted from; it is read on the monotonic clock.
var start = time.Now()

// Limit is a rate and a burst. The zero Limit lets everything through.
type Limit struct {
	every time.Duration // one is earned in that time
	ahead time.Duration // how far one may be ahead of what is earned
}

// New makes a limit of rate a second (0: none), and burst at once, which is at least 1.
func New(rate, burst int) Limit {
	if rate <= 0 {
		return Limit{}
	}
	every := time.Second / time.Duration(rate)
	return Limit{every: every, ahead: every * time.Duration(max(burst, 1)-1)}
}

// Mark is what is kept of one party: when it will have earned what it has had. The zero Mark has had nothing.
type Mark time.Duration

// Take counts one, and tells how long that is too early; what is too early isn't counted. 0: it may go on.
func (l Limit) Take(m *Mark) time.Duration {
	if l.every == 0 {
		return 0
	}
	now := Mark(time.Since(start))
	next := max(*m, now)
	if early := time.Duration(next-now) - l.ahead; early > 0 {
		return early
	}
	*m = next + Mark(l.every)
	return 0
}
