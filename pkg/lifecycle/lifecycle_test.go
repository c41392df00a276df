package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// diary notes what happens to parts, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, s)
}

func (d *diary) part(name string, startErr, stopErr error) Part {
	return Part{
		Name:  name,
		Start: func(context.Context) error { d.note("+" + name); return startErr },
		Stop:  func(context.Context) error { d.note("-" + name); return stopErr },
	}
}

func (d *diary) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(d.entries, want) {
		t.Fatalf("happened: %v; want %v", d.entries, want)
	}
}

func TestStartsInOrderAndStopsInReverse(t *testing.T) {
	var d diary
	var s Stack
	boom := errors.New("boom")
	s.Add(d.part("store", nil, nil))
	s.Add(d.part("bus", nil, boom))
	s.Add(Part{Name: "nothing to do"})
	s.Add(d.part("listener", nil, nil))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); !errors.Is(err, boom) || !strings.Contains(err.Error(), "stop bus") {
		t.Fatalf("stopped with %v; want the bus's error", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stopped twice: %v", err)
	}
	d.want(t, "+store", "+bus", "+listener", "-listener", "-bus", "-store")
	if err := s.Start(t.Context()); err == nil {
		t.Fatal("a stopped stack started again")
	}
}

func TestAPartThatFailsStopsThoseBeforeIt(t *testing.T) {
	var d diary
	var s Stack
	boom := errors.New("boom")
	s.Add(d.part("store", nil, nil))
	s.Add(d.part("bus", boom, nil))
	s.Add(d.part("listener", nil, nil))
	if err := s.Start(t.Context()); !errors.Is(err, boom) || !strings.Contains(err.Error(), "start bus") {
		t.Fatalf("started with %v; want the bus's error", err)
	}
	d.want(t, "+store", "+bus", "-store")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStopBeforeStart(t *testing.T) {
	var d diary
	var s Stack
	s.Add(d.part("store", nil, nil))
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Fatal("started after it was stopped")
	}
	d.want(t)
}

func TestRunsUntilStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Stack
		ended := false
		s.AddRun("worker", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second) // what it has in hand
			ended = true
			return ctx.Err()
		})
		start, cancel := context.WithCancel(t.Context())
		if err := s.Start(start); err != nil {
			t.Fatal(err)
		}
		cancel() // the start's context: the worker goes on
		synctest.Wait()
		if err := s.Stop(t.Context()); err != nil || !ended {
			t.Fatalf("stopped with %v, the worker has ended: %v", err, ended)
		}
		if len(s.Failed()) > 0 {
			t.Fatalf("a worker that was stopped failed: %v", <-s.Failed())
		}
	})
}

func TestARunThatEndsByItselfIsTold(t *testing.T) {
	var s Stack
	boom := errors.New("boom")
	s.AddRun("worker", func(context.Context) error { return boom })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-s.Failed(); !errors.Is(err, boom) || !strings.Contains(err.Error(), "worker") {
		t.Fatalf("failed with %v; want the worker's error", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAPartThatWillNotStopIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Stack
		release := make(chan struct{})
		s.AddRun("stubborn", func(context.Context) error { <-release; return nil })
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "stubborn") {
			t.Fatalf("stopped with %v; want the part named", err)
		}
		close(release)
	})
}

// TestStress starts and stops from many goroutines at once: every part that came up goes down once, in reverse.
func TestStress(t *testing.T) {
	for round := range 200 {
		var d diary
		var s Stack
		for i := range 5 {
			var fail error
			if i == round%7 {
				fail = errors.New("boom")
			}
			s.Add(d.part(fmt.Sprint(i), fail, nil))
			s.AddRun("run", func(ctx context.Context) error { <-ctx.Done(); return nil })
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _ = s.Start(t.Context()) })
			wg.Go(func() { _ = s.Stop(t.Context()) })
		}
		wg.Wait()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		var up []string
		for _, e := range d.entries {
			switch {
			case e[0] == '+':
				up = append(up, e[1:])
			case len(up) > 0 && up[len(up)-1] != e[1:] && len(up) > 1 && up[len(up)-2] == e[1:]:
				up = up[:len(up)-2] // the top one failed to start
			case len(up) == 0 || up[len(up)-1] != e[1:]:
				t.Fatalf("round %d: %v stops out of order", round, d.entries)
			default:
				up = up[:len(up)-1]
			}
		}
		if len(up) > 1 || (len(up) == 1 && up[0] != fmt.Sprint(round%7)) {
			t.Fatalf("round %d: %v leaves %v up", round, d.entries, up)
		}
	}
}
