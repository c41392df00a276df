package outlet

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLanesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLanes(4)
		var now, most, done atomic.Int64
		for range 100 {
			l.run(func() {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(soon / 2)
				now.Add(-1)
				done.Add(1)
			})
		}
		time.Sleep(time.Hour)
		if most.Load() != 4 || done.Load() != 100 {
			t.Errorf("%d at a time, %d done", most.Load(), done.Load())
		}
	})
}

// TestStuckOnesGiveTheirLanes to others, and don't get them back twice.
func TestStuckOnesGiveTheirLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLanes(4)
		room := make(chan struct{})
		for range 50 {
			l.run(func() { <-room })
		}
		quick := 0
		l.run(func() { quick++ })
		time.Sleep(15 * soon)
		synctest.Wait()
		if quick != 1 {
			t.Error("stuck ones hold up others")
		}
		close(room)
		synctest.Wait()
		if l.free != 4 || l.queue != nil {
			t.Errorf("%d lanes are free, %d wait", l.free, len(l.queue))
		}
	})
}
