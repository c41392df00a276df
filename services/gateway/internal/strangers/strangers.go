// Package strangers says in the log which origins are refused: an operator who has forgotten one of the own sees it at once, and
// nobody can fill the log.
package strangers

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// every is how often an origin that goes on coming is spoken of.
	every = time.Minute
	// most is how many origins are told apart at a time.
	most = 64
	// longest is how much is kept and logged of what a stranger sent, in bytes.
	longest = 200
)

// Log speaks of an origin when it comes for the first time, and then once a minute, with how often it came in that minute; one
// that hasn't come in a minute is forgotten. Beyond 64 origins the others are counted as one. It is safe for concurrent use.
type Log struct {
	log *slog.Logger // static

	mu sync.Mutex
	// Guarded by mu.
	times  map[string]int // by origin: since it was spoken of
	others int            // the same, of all that are not in times
	timer  *time.Timer    // nil: not running, and nothing is kept
	closed bool
}

// New makes one that has seen nobody.
func New(log *slog.Logger) *Log { return &Log{log: log, times: make(map[string]int)} }

// Refused notes that a page of the origin was refused.
func (l *Log) Refused(origin, host, remote string) {
	origin = clip(origin)
	if l.first(origin) {
		l.log.Warn("origin refused; if it is yours, add it to the allowed origins",
			"origin", origin, "host", clip(host), "remote", remote)
	}
}

// first tells whether to speak of it now.
func (l *Log) first(origin string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(every, l.minute)
	}
	if n, seen := l.times[origin]; seen {
		l.times[origin] = n + 1
		return false
	}
	if len(l.times) < most {
		l.times[origin] = 0
		return true
	}
	l.others++
	return false
}

// minute speaks of those who went on coming.
func (l *Log) minute() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for origin, n := range l.times {
		if n == 0 {
			delete(l.times, origin)
			continue
		}
		l.log.Warn("origin refused again", "origin", origin, "times", n, "within", every)
		l.times[origin] = 0
	}
	if l.others > 0 {
		l.log.Warn("origins refused beside those that are counted one by one",
			"counted", most, "times", l.others, "within", every)
	}
	l.others = 0
	if l.timer = nil; len(l.times) > 0 {
		l.timer = time.AfterFunc(every, l.minute)
	}
}

// Close ends speaking. Closing twice is fine.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

func clip(s string) string {
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
