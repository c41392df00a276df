package window

import (
	"sync"
	"time"
)

const (
	// tick is how exact long polls end; spokes times that is more than the longest may wait.
	tick   = 100 * time.Millisecond
	spokes = 512
)

// wheel ends Polls whose time is over: one timer for all of them, which runs while there are any.
type wheel struct {
	w *Windows // static

	mu     sync.Mutex
	rim    [spokes]*Poll
	now    int // which spoke's time has come
	n      int
	turned bool // its goroutine runs
}

// spoke is a Poll's place in the wheel. Guarded by wheel.mu.
type spoke struct {
	at         int
	prev, next *Poll
	in         bool
}

func (wh *wheel) init(w *Windows) { wh.w = w }

// add has p roused after d, or up to a tick before that.
func (wh *wheel) add(p *Poll, d time.Duration) {
	wh.mu.Lock()
	defer wh.mu.Unlock()
	if !wh.turned {
		if wh.turned = wh.w.spawn(wh.turn); !wh.turned {
			p.over = true // all is
			p.rouse()
			return
		}
	}
	ticks := min(max(int(d/tick), 1), spokes-1)
	p.spoke = spoke{at: (wh.now + ticks) % spokes, in: true}
	first := &wh.rim[p.spoke.at]
	if p.spoke.next = *first; *first != nil {
		(*first).spoke.prev = p
	}
	*first = p
	wh.n++
}

func (wh *wheel) remove(p *Poll) {
	wh.mu.Lock()
	defer wh.mu.Unlock()
	wh.removeLocked(p)
}

func (wh *wheel) removeLocked(p *Poll) {
	s := &p.spoke
	if !s.in {
		return
	}
	if s.prev != nil {
		s.prev.spoke.next = s.next
	} else {
		wh.rim[s.at] = s.next
	}
	if s.next != nil {
		s.next.spoke.prev = s.prev
	}
	*s = spoke{}
	wh.n--
}

// turn moves on one spoke per tick until nobody is left.
func (wh *wheel) turn() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		over := false
		select {
		case <-ticker.C:
		case <-wh.w.ctx.Done():
			over = true
		}
		wh.mu.Lock()
		wh.now = (wh.now + 1) % spokes
		for i := range wh.rim {
			for p := wh.rim[i]; p != nil && (over || i == wh.now); p = wh.rim[i] {
				wh.removeLocked(p)
				if !p.awake.Load() { // otherwise it is about to look for itself
					p.over = true
				}
				p.rouse()
			}
		}
		if over || wh.n == 0 {
			wh.turned = false
			wh.mu.Unlock()
			return
		}
		wh.mu.Unlock()
	}
}
