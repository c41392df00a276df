package doorbell

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// watch runs a Follow in the background and keeps what it gave.
type watch struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	log      []string
	state    State
	statuses []Status
	err      error
}

func startWatch(t *testing.T, c *Client, o FollowOptions, onEvent ...func(Event)) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch{t: t, cancel: cancel, done: make(chan struct{})}
	o.OnStatus = func(s Status) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.statuses = append(w.statuses, s)
	}
	w.state.Cursor = o.Since
	go func() {
		defer close(w.done)
		for e, err := range c.Follow(ctx, feedX, o) {
			w.mu.Lock()
			if err != nil {
				w.err = err
			} else {
				w.state.Apply(e)
				w.log = append(w.log, describe(e))
			}
			w.mu.Unlock()
			for _, f := range onEvent {
				f(e)
			}
		}
	}()
	t.Cleanup(w.stop)
	return w
}

func describe(e Event) string {
	switch {
	case e.Kind == Changed && e.Change.Deleted:
		return "-" + e.Change.Key
	case e.Kind == Changed:
		return e.Change.Key + "=" + string(e.Change.Value)
	case e.Kind == Trimmed:
		return fmt.Sprintf("trimmed %d", e.Trimmed)
	case e.Kind == CaughtUp:
		return "@" + e.Cursor
	}
	return e.Kind.String()
}

func (w *watch) stop() {
	w.cancel()
	<-w.done
}

// settle waits until nothing moves without time going on.
func (w *watch) settle() { synctest.Wait() }

// pass lets time go by.
func (w *watch) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// events gives what came since the last call, joined by blanks.
func (w *watch) events() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := strings.Join(w.log, " ")
	w.log = nil
	return log
}

// wantEvents settles and compares.
func (w *watch) wantEvents(want string) {
	w.t.Helper()
	w.settle()
	if got := w.events(); got != want {
		w.t.Fatalf("events\n got %q\nwant %q", got, want)
	}
}

func (w *watch) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.statuses) == 0 {
		return Status{}
	}
	return w.statuses[len(w.statuses)-1]
}

func (w *watch) wantMode(want Mode) {
	w.t.Helper()
	w.settle()
	if got := w.status(); got.Mode != want {
		w.t.Fatalf("status is %+v, want %s", got, want)
	}
}

// wantErr waits for the end.
func (w *watch) wantErr() error {
	w.t.Helper()
	w.settle()
	select {
	case <-w.done:
	default:
		w.t.Fatalf("still following; status %+v", w.status())
	}
	return w.err
}

// wantSame compares what was built from events with the truth.
func (w *watch) wantSame(f *fake) {
	w.t.Helper()
	w.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	var truth []string
	for key, row := range f.rows {
		if !row.Deleted {
			truth = append(truth, fmt.Sprintf("%s=%s@%d", key, row.Value, row.Seq))
		}
	}
	slices.Sort(truth)
	w.mu.Lock()
	defer w.mu.Unlock()
	var built []string
	for _, key := range slices.Sorted(maps.Keys(w.state.Items)) {
		item := w.state.Items[key]
		built = append(built, fmt.Sprintf("%s=%s@%d", key, item.Value, item.Seq))
	}
	slices.Sort(built)
	if !slices.Equal(built, truth) || w.state.Cursor != f.headLocked() {
		w.t.Fatalf("built %v at %q, the feed is %v at %q", built, w.state.Cursor, truth, f.headLocked())
	}
}

func wantReads(t *testing.T, f *fake, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := f.reads(); !slices.Equal(got, want) {
		t.Fatalf("reads\n got %q\nwant %q", got, want)
	}
}

var errTest = errors.New("test")
