package admission

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

type slow struct {
	store.Reader
	now, most atomic.Int64
	takes     time.Duration
}

func (s *slow) Delta(context.Context, feed.Name, store.Query) (feed.Delta, error) {
	if n := s.now.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	defer s.now.Add(-1)
	time.Sleep(s.takes)
	return feed.Delta{}, nil
}

// TestGate: so many at once, a few that wait for a second at most, and the rest is refused at once.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &slow{takes: 400 * time.Millisecond}
		g := New(4, nil)
		r := g.Reader(st)
		var done, busy, late atomic.Int64
		var wg sync.WaitGroup
		begin := time.Now()
		for range 100 {
			wg.Go(func() {
				_, err := r.Delta(t.Context(), "a", store.Query{})
				switch {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, ErrBusy):
					t.Error(err)
				case time.Since(begin) == 0:
					busy.Add(1)
				case time.Since(begin) == patience:
					late.Add(1)
				default:
					t.Errorf("refused after %s", time.Since(begin))
				}
			})
		}
		synctest.Wait()
		if g.Load() != 1 || g.Busy() != 4 || g.Waiting() != 32 {
			t.Errorf("load %v, %d busy, %d wait", g.Load(), g.Busy(), g.Waiting())
		}
		wg.Wait()
		// Rounds of four begin at 0, 0.4 and 0.8 s; 36 had a place or waited for one.
		if done.Load() != 12 || late.Load() != 24 || busy.Load() != 64 || st.most.Load() != 4 {
			t.Errorf("%d done, %d late, %d refused at once, %d at a time", done.Load(), late.Load(), busy.Load(), st.most.Load())
		}
		if g.Load() != 0 || g.Busy() != 0 || g.Refused() != 88 {
			t.Errorf("load %v, %d busy, %d refused in the end", g.Load(), g.Busy(), g.Refused())
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range 4 {
			wg.Go(func() { _, _ = r.Delta(t.Context(), "a", store.Query{}) })
		}
		synctest.Wait()
		cancel()
		if _, err := r.Delta(ctx, "a", store.Query{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wg.Wait()
	})
}
