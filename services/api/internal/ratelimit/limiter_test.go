package ratelimit

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var reads = []Limit{{Name: "reads", PerSecond: 10, Burst: 5}, {Name: "off"}}

// allowed is how many of n requests at once are let through.
func allowed(l *Limiter, id uint64, n int) (ok int) {
	for range n {
		if !l.Take(0, id).Refused {
			ok++
		}
	}
	return ok
}

func TestBurstAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Limits: reads, Slots: 1})
		if n := allowed(l, 1, 20); n != 5 {
			t.Errorf("%d at once; want the burst of 5", n)
		}
		v := l.Take(0, 1)
		if !v.Refused || v.After != 100*time.Millisecond {
			t.Errorf("the next: %+v; want in 100ms", v)
		}
		if n := allowed(l, 2, 20); n != 5 {
			t.Errorf("another client: %d", n)
		}
		time.Sleep(v.After - time.Millisecond)
		if n := allowed(l, 1, 3); n != 0 {
			t.Errorf("too early: %d", n)
		}
		time.Sleep(time.Millisecond)
		if n := allowed(l, 1, 3); n != 1 {
			t.Errorf("in time: %d; want 1", n)
		}
		time.Sleep(time.Hour)
		if n := allowed(l, 1, 20); n != 5 {
			t.Errorf("after an hour: %d; want the burst of 5", n)
		}
		var sum int
		for range 1000 { // asks 100 times a second
			time.Sleep(10 * time.Millisecond)
			sum += allowed(l, 1, 1)
		}
		if sum < 99 || sum > 101 {
			t.Errorf("in 10s: %d; want 100", sum)
		}
	})
}

// TestRefund: what turned out to be a 304 costs a tenth.
func TestRefund(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Limits: reads, Slots: 1})
		n := 0
		for range 100 {
			if l.Take(0, 1).Refused {
				break
			}
			l.Refund(0, 1, Full-1)
			n++
		}
		if n < 40 || n > 50 { // a whole request has to be there for each
			t.Errorf("%d cheap ones at once; want nearly ten times the burst of 5", n)
		}
	})
}

func TestNoLimit(t *testing.T) {
	l := New(Options{Limits: reads, Slots: 1})
	for range 10_000 {
		if l.Take(1, 1).Refused {
			t.Fatal("refused")
		}
		l.Refund(1, 1, 9)
	}
}

// TestMemoryIsBounded: however many clients there are, and those that ask most are still known.
func TestMemoryIsBounded(t *testing.T) {
	l := New(Options{Limits: []Limit{{Name: "reads", PerSecond: 1, Burst: 50}}, Slots: 4096})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const greedy = 0x1234567890abcdef
	allowed(l, greedy, 50)
	before := heap()
	for range 1_000_000 {
		if l.Take(0, rand.Uint64()).Refused {
			t.Fatal("a new client was refused")
		}
	}
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("a million clients took %d bytes", grown)
	}
	if n := allowed(l, greedy, 50); n > 10 {
		t.Errorf("the client that had spent all was forgotten: %d", n)
	}
}

func TestTogether(t *testing.T) {
	l := New(Options{Limits: []Limit{{Name: "reads", PerSecond: 0.001, Burst: 1000}}, Slots: 64})
	var ok atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { ok.Add(int64(allowed(l, 7, 1000))) })
	}
	all.Wait()
	if n := ok.Load(); n != 1000 {
		t.Errorf("%d were let through; want 1000", n)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Options{Limits: []Limit{{Name: "reads", PerSecond: 1e9, Burst: 1e6}}})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Take(0, 42)
		}
	})
}
