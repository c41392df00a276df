package doorbell

import (
	"math/rand/v2"
	"time"
)

const (
	minPoll      = time.Second
	maxPoll      = time.Minute
	maxPollAfter = time.Hour // what Doorbell-Poll-After may ask for at most
	emptyAnswers = 3         // so many in a row make polling slower

	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// pollClock is the adaptive interval between polls: the server's word if it gives one, else 1 s to 60 s by what
// the answers hold. The zero pollClock begins at 1 s.
type pollClock struct {
	interval time.Duration
	empty    int // answers without news, in a row
}

// answered notes an answer, and what the server said about the next one (0: nothing).
func (p *pollClock) answered(news bool, after time.Duration) {
	if news {
		p.empty = 0
	} else {
		p.empty++
	}
	switch {
	case after > 0:
		p.interval = after
	case news:
		p.scale(0.5)
	case p.empty >= emptyAnswers:
		p.empty = 0
		p.scale(1.5)
	}
}

func (p *pollClock) failed() { p.scale(2) }

func (p *pollClock) scale(by float64) {
	// Where the server asked for more than maxPoll, that stays the bound.
	p.interval = min(max(time.Duration(float64(p.get())*by), minPoll), max(p.get(), maxPoll))
}

func (p *pollClock) get() time.Duration {
	if p.interval == 0 {
		return minPoll
	}
	return p.interval
}

// first is the delay before the first poll after signals stopped: anything up to the interval, because they stop
// for many clients at the same moment.
func (p *pollClock) first() time.Duration { return random(p.get()) }

// next is the delay between two polls: never shorter than the interval, which is the server's wish.
func (p *pollClock) next() time.Duration { return p.get() + random(p.get()/5) }

// backoff is full jitter: the n-th delay is random up to 0.5 s × 2^n, and up to 30 s at most. The zero backoff is ready.
type backoff struct{ failures int }

func (b *backoff) next() time.Duration {
	upTo := min(minBackoff<<min(b.failures, 10), maxBackoff)
	b.failures++
	return random(upTo)
}

func (b *backoff) reset() { b.failures = 0 }

// random is a duration in [0, upTo); 0 when upTo is not above 0.
func random(upTo time.Duration) time.Duration {
	if upTo <= 0 {
		return 0
	}
	return rand.N(upTo)
}
