// Package wheel calls many owners at their times, from one goroutine and with few bytes each: a timer of the runtime per
// connection and purpose would cost more than the rest of an idle connection.
//
//	Set ─▶ the slot of its tick ─▶ the tick comes ─▶ Task.Due, one after another
//
// Times are counted in ticks. A task is never called early, and at most one tick late as long as tasks don't dawdle.
package wheel

import (
	"sync"
	"time"
)

// slots is how many ticks one turn of the wheel has. What is due later stays in its slot for more turns.
const slots = 512

// Tick is a moment: how many ticks have passed since the wheel was made. A wheel of 100 ms lasts for 13 years.
type Tick uint32

// Task is what is called.
type Task interface {
	// Due is called on the wheel's goroutine, at the tick that was set or soon after; also when the timer has been set anew
	// or stopped at that very moment. It must not block; it may set timers.
	Due(now Tick)
}

// Timer is a place on the wheel, to be embedded in its task. The zero Timer is not set. All of it is guarded by Wheel.mu.
type Timer struct {
	task       Task
	prev, next *Timer // in the slot's ring; nil: not set
	due        Tick
}

// Wheel is safe for concurrent use.
type Wheel struct {
	// Static.
	tick  time.Duration
	start time.Time
	stop  chan struct{}
	ended sync.WaitGroup
	once  sync.Once

	mu sync.Mutex
	// Guarded by mu.
	done  Tick         // all up to this one have been called
	rings [slots]Timer // the head of each slot's ring
}

// New makes a wheel that turns. Close ends it.
func New(tick time.Duration) *Wheel {
	w := &Wheel{tick: tick, start: time.Now(), stop: make(chan struct{})}
	for i := range w.rings {
		w.rings[i].prev, w.rings[i].next = &w.rings[i], &w.rings[i]
	}
	w.ended.Go(w.run)
	return w
}

// Close ends calling. Once it has returned, no task is called any more. Closing twice is fine; closing from a task is not.
func (w *Wheel) Close() {
	w.once.Do(func() { close(w.stop) })
	w.ended.Wait()
}

// After is the first tick that is at least d from now.
func (w *Wheel) After(d time.Duration) Tick {
	return Tick((time.Since(w.start) + d + w.tick - 1) / w.tick)
}

// far is how far ahead At looks: ticks further away might not fit.
const far = 24 * time.Hour

// At is the first tick that is not before t; that of now if t has passed. A time that is more than a day away is a day away: whoever
// is called then asks again.
func (w *Wheel) At(t time.Time) Tick { return w.After(min(max(0, time.Until(t)), far)) }

// Span is how long a number of ticks takes.
func (w *Wheel) Span(ticks int) time.Duration { return time.Duration(ticks) * w.tick }

// Ticks is how many ticks d takes at least.
func (w *Wheel) Ticks(d time.Duration) Tick { return Tick((d + w.tick - 1) / w.tick) }

// Set has task called at the tick, or at the next one if that has passed. A timer that is set is moved.
func (w *Wheel) Set(t *Timer, task Task, due Tick) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.next != nil {
		t.unlink()
	}
	t.task, t.due = task, max(due, w.done+1)
	ring := &w.rings[t.due%slots]
	t.prev, t.next = ring.prev, ring
	t.prev.next, ring.prev = t, t
}

// Stop takes the timer off the wheel, if it is set.
func (w *Wheel) Stop(t *Timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.next != nil {
		t.unlink()
	}
}

func (t *Timer) unlink() {
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next, t.task = nil, nil, nil
}

func (w *Wheel) run() {
	ticker := time.NewTicker(w.tick)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
		}
		now, more := Tick(time.Since(w.start)/w.tick), true
		for more {
			more = w.turn(now)
		}
	}
}

// turn calls what is due at the next tick, and tells whether there was one up to now.
func (w *Wheel) turn(now Tick) bool {
	w.mu.Lock()
	if w.done >= now {
		w.mu.Unlock()
		return false
	}
	w.done++
	at := w.done
	var tasks []Task
	ring := &w.rings[at%slots]
	for t := ring.next; t != ring; {
		next := t.next
		if t.due <= at {
			tasks = append(tasks, t.task)
			t.unlink()
		}
		t = next
	}
	w.mu.Unlock()
	for _, task := range tasks {
		task.Due(at)
	}
	return true
}
