package window

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// TestWaitingForAFeedThatWasLetGoOf: what was signalled to the feed that was in memory before is news to who waits for the one in its
// place.
func TestWaitingForAFeedThatWasLetGoOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &scripted{told: feed.Delta{Head: at(3), Cursor: at(3)}}
		w := newWindows(t, st)
		f := w.Feed("a")
		synctest.Wait() // it is followed
		if _, err := f.Read(t.Context(), store.Query{Limit: 9, MaxBytes: 99}, Floor{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st.told = feed.Delta{Head: at(4), Cursor: at(4)} // and signalled just before
		w.mu.Lock()
		w.cache.Invalidate("a")
		f.retire()
		delete(w.feeds, "a")
		w.follows["a"].wanted = false
		w.mu.Unlock()

		p := w.NewPoll()
		defer p.Leave()
		if on := p.On(f, Beyond(at(3))); on == f {
			t.Error("it waits where no signal comes")
		}
		if !p.Wait(t.Context(), 20*time.Second) {
			t.Error("it was not woken")
		}
	})
}
