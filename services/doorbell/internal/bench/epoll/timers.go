//go:build linux

package epoll

import (
	"container/heap"
	"time"
)

// Timers are things to do later, for a loop around Wait. The zero Timers is empty.
type Timers struct{ heap timers }

// After has something done in d.
func (t *Timers) After(d time.Duration, do func()) { heap.Push(&t.heap, timer{Now() + int64(d), do}) }

// Run does what is due.
func (t *Timers) Run(now int64) {
	for len(t.heap) > 0 && t.heap[0].due <= now {
		heap.Pop(&t.heap).(timer).do() //nolint:forcetypeassert // it holds nothing else
	}
}

// Rest is how long it is until something is due, at most so long.
func (t *Timers) Rest(most time.Duration) time.Duration {
	if len(t.heap) == 0 {
		return most
	}
	return min(most, max(0, time.Duration(t.heap[0].due-Now())))
}

// timer is one thing to do, timers a heap of them.
type timer struct {
	due int64
	do  func()
}

type timers []timer //nolint:recvcheck // Push and Pop alone change the slice's length

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push is heap's.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) } //nolint:forcetypeassert // heap.Push is called with nothing else

// Pop is heap's.
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	(*t)[len(*t)-1] = timer{}
	*t = (*t)[:len(*t)-1]
	return last
}
