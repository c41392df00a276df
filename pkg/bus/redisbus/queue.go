package redisbus

import (
	"context"
	"math"
	"sync"
)

// queue puts together what many goroutines want at the same time: while one of it is being done, the rest gathers for
// the next round trip.
type queue[T any] struct {
	// static
	wake chan struct{} // holds one: something has been added

	mu    sync.Mutex
	items []T
}

func newQueue[T any]() queue[T] { return queue[T]{wake: make(chan struct{}, 1)} }

// add never blocks; what bounds the queue is that callers wait for their items.
func (q *queue[T]) add(items ...T) {
	q.mu.Lock()
	q.items = append(q.items, items...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take gives the first items, at most so many.
func (q *queue[T]) take(most int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(most, len(q.items))
	items := q.items[:n:n]
	if q.items = q.items[n:]; len(q.items) == 0 {
		q.items = nil
	}
	return items
}

func (q *queue[T]) takeAll() []T { return q.take(math.MaxInt) }

// each hands the items to do, at most so many at a time, until ctx ends.
func (q *queue[T]) each(ctx context.Context, most int, do func([]T)) {
	for ctx.Err() == nil {
		items := q.take(most)
		if len(items) > 0 {
			do(items)
			continue
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
}
