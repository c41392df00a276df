package window

import (
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// pace is how often a feed changes, as far as this instance has seen. moved is called under Feed.mu.
type pace struct {
	head feed.Cursor
	last atomic.Int64 // when it moved last, Unix nanoseconds; 0: it hasn't since it is watched
	mean atomic.Int64 // between two moves, smoothed; 0: not known yet
}

// moved notes that the feed has come to head.
func (p *pace) moved(head feed.Cursor, now time.Time) {
	if head.Compare(p.head) <= 0 {
		return
	}
	first := p.head.IsZero()
	p.head = head
	if first {
		return // that is how it was found
	}
	at := now.UnixNano()
	if last := p.last.Load(); last > 0 {
		gap := max(at-last, 1)
		if mean := p.mean.Load(); mean > 0 {
			gap = mean + (gap-mean)/4
		}
		p.mean.Store(gap)
	}
	p.last.Store(at)
}

// Pace tells how long it is between two changes of the feed, about, and how long ago the last one was; 0: not known.
func (f *Feed) Pace(now time.Time) (between, since time.Duration) {
	if last := f.pace.last.Load(); last > 0 {
		since = time.Duration(max(now.UnixNano()-last, 0))
	}
	return time.Duration(f.pace.mean.Load()), since
}
