package wheel

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tick = 100 * time.Millisecond

// alarm notes when it was called.
type alarm struct {
	Timer
	mu   sync.Mutex
	at   []time.Duration
	from time.Time
	then func()
}

func (a *alarm) Due(Tick) {
	a.mu.Lock()
	a.at = append(a.at, time.Since(a.from))
	a.mu.Unlock()
	if a.then != nil {
		a.then()
	}
}

func turning(t *testing.T, test func(t *testing.T, w *Wheel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := New(tick)
		defer w.Close()
		test(t, w)
	})
}

// TestNeverEarlyAndAtMostATickLate, whatever the distance: within a turn of the wheel, and several turns away.
func TestNeverEarlyAndAtMostATickLate(t *testing.T) {
	turning(t, func(t *testing.T, w *Wheel) {
		type wanted struct {
			*alarm
			after time.Duration
		}
		var all []wanted
		for range 2000 {
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			a := wanted{&alarm{from: time.Now()}, time.Duration(rand.IntN(200_000)) * time.Millisecond}
			w.Set(&a.Timer, a, w.After(a.after))
			all = append(all, a)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, a := range all {
			if len(a.at) != 1 || a.at[0] < a.after || a.at[0] > a.after+tick {
				t.Fatalf("wanted after %s, called after %v", a.after, a.at)
			}
		}
	})
}

func TestSetAnewAndStop(t *testing.T) {
	turning(t, func(t *testing.T, w *Wheel) {
		sooner, later, never := &alarm{from: time.Now()}, &alarm{from: time.Now()}, &alarm{from: time.Now()}
		for _, a := range []*alarm{sooner, later, never} {
			w.Set(&a.Timer, a, w.After(10*time.Second))
		}
		w.Set(&sooner.Timer, sooner, w.After(time.Second))
		w.Set(&later.Timer, later, w.At(time.Now().Add(time.Minute)))
		w.Stop(&never.Timer)
		w.Stop(&never.Timer)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(sooner.at) != 1 || sooner.at[0] != time.Second {
			t.Error("sooner:", sooner.at)
		}
		if len(later.at) != 1 || later.at[0] != time.Minute {
			t.Error("later:", later.at)
		}
		if never.at != nil {
			t.Error("never:", never.at)
		}
	})
}

// TestTheTaskSetsItsTimer, as every ping sets the next; and what has passed comes at the next tick.
func TestTheTaskSetsItsTimer(t *testing.T) {
	turning(t, func(t *testing.T, w *Wheel) {
		a := &alarm{from: time.Now()}
		a.then = func() { w.Set(&a.Timer, a, 1) }
		w.Set(&a.Timer, a, w.After(time.Second))
		time.Sleep(2*time.Second + tick/2)
		synctest.Wait()
		if len(a.at) != 11 {
			t.Error(a.at)
		}
	})
}

// TestSlowTasks: what comes due while one dawdles is late, and not lost.
func TestSlowTasks(t *testing.T) {
	turning(t, func(t *testing.T, w *Wheel) {
		slow, other := &alarm{from: time.Now()}, &alarm{from: time.Now()}
		slow.then = func() { time.Sleep(10 * time.Second) }
		w.Set(&slow.Timer, slow, w.After(time.Second))
		w.Set(&other.Timer, other, w.After(5*time.Second))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(other.at) != 1 || other.at[0] != 11*time.Second {
			t.Error(other.at)
		}
	})
}

func TestStress(t *testing.T) {
	w := New(time.Millisecond)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var some [50]alarm
			for range 5000 {
				a := &some[rand.IntN(len(some))]
				if rand.IntN(3) == 0 {
					w.Stop(&a.Timer)
				} else {
					w.Set(&a.Timer, a, w.After(time.Duration(rand.IntN(20))*time.Millisecond))
				}
			}
			for i := range some {
				w.Stop(&some[i].Timer)
			}
		})
	}
	all.Wait()
	w.Close()
	w.Close()
}

// TestFarTimes don't wrap: they are a day away.
func TestFarTimes(t *testing.T) {
	turning(t, func(t *testing.T, w *Wheel) {
		for _, years := range []int{1, 14, 100, 7900} {
			if got, want := w.At(time.Now().AddDate(years, 0, 0)), w.After(24*time.Hour); got != want {
				t.Errorf("in %d years is tick %d; want %d", years, got, want)
			}
		}
	})
}
