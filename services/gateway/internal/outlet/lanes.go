package outlet

import (
	"sync"
	"time"
)

// Lanes bounds how many goroutines begin to write to sockets that can't be tried: a signal to a crowd on TLS would need one for
// each at once, for the moment that a write takes. Who doesn't get through soon keeps its goroutine and gives its lane to the next,
// so that full sockets hold up nobody.
type Lanes struct {
	soon time.Duration // static

	mu sync.Mutex
	// Guarded by mu.
	free  int
	queue []func()
}

// soon is how long a lane is held at most.
const soon = 20 * time.Millisecond

// NewLanes makes n of them.
func NewLanes(n int) *Lanes { return &Lanes{soon: soon, free: n} }

// run calls f on a goroutine, when it is f's turn. nil: at once.
func (l *Lanes) run(f func()) {
	if l == nil {
		go f()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == 0 {
		l.queue = append(l.queue, f)
		return
	}
	l.free--
	go l.hold(f)
}

func (l *Lanes) hold(f func()) {
	late := time.AfterFunc(l.soon, l.next)
	f()
	if late.Stop() {
		l.next()
	}
}

// next gives a lane to whoever has waited longest.
func (l *Lanes) next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil // a burst's memory is not kept
		l.free++
		return
	}
	f := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	go l.hold(f)
}
