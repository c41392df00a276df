package window

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// leaving is a Store whose feeds are all at 3, until it is gone: then it takes its time to say so.
type leaving struct {
	takes time.Duration
	says  error // nil: that it is gone
	gone  atomic.Bool
	more  atomic.Int64 // changes since
	asked atomic.Int64
}

func (l *leaving) Delta(_ context.Context, _ feed.Name, q store.Query) (feed.Delta, error) {
	l.asked.Add(1)
	if l.gone.Load() {
		time.Sleep(l.takes)
		return feed.Delta{}, cmp.Or(l.says, store.ErrUnavailable)
	}
	head := at(3 + l.more.Load())
	return feed.Delta{Since: q.Since, Head: head, Cursor: head}, nil
}

// hotFeed is a feed that is in memory and believed; then its store goes.
func hotFeed(t *testing.T, st *leaving) *Feed {
	t.Helper()
	f := newWindows(t, st).Feed("a")
	for f.Current() == nil {
		readSnapshot(t, f)
		time.Sleep(time.Millisecond)
	}
	st.gone.Store(true)
	return f
}

func readSnapshot(t *testing.T, f *Feed) {
	t.Helper()
	r, err := f.Read(t.Context(), store.Query{Limit: 9, MaxBytes: 99}, Floor{})
	if err != nil || r.Delta.Head != at(3) {
		t.Fatalf("%+v, %v", r, err)
	}
}

// TestAStoreThatIsGoneHasSomeRest: one question a second for each feed, however many read what is in memory and however many wait.
func TestAStoreThatIsGoneHasSomeRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &leaving{}
		f := hotFeed(t, st)
		for range 10 {
			p := f.w.NewPoll()
			p.On(f, Beyond(at(3)))
			defer p.Leave()
		}
		f.told(bus.At(at(4)))
		before := st.asked.Load()
		for range 500 { // 5 s
			time.Sleep(10 * time.Millisecond)
			readSnapshot(t, f)
		}
		if n := st.asked.Load() - before; n < 4 || n > 7 {
			t.Errorf("it was asked %d times within 5 s; want once a second", n)
		}
	})
}

// TestAStoreThatOthersReach: their signals don't make who reads here wait until they end.
func TestAStoreThatOthersReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &leaving{takes: 333 * time.Millisecond}
		f := hotFeed(t, st)
		var writing sync.WaitGroup
		defer writing.Wait()
		ctx, end := context.WithCancel(t.Context())
		defer end()
		writing.Go(func() {
			for seq := int64(4); ctx.Err() == nil; seq++ {
				f.told(bus.At(at(seq)))
				time.Sleep(70010 * time.Microsecond)
			}
		})
		for range 10 {
			time.Sleep(50 * time.Millisecond)
			begun := time.Now()
			readSnapshot(t, f)
			if took := time.Since(begun); took > 3*st.takes {
				t.Errorf("answered after %s", took)
			}
		}
	})
}

// TestAStoreThatIsTooSlow for what was signalled: who waits for that hears of it when it can be loaded.
func TestAStoreThatIsTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &leaving{takes: 5 * time.Second, says: context.DeadlineExceeded}
		f := hotFeed(t, st)
		p := f.w.NewPoll()
		defer p.Leave()
		p.On(f, Beyond(at(3)))
		f.told(bus.At(at(4)))
		time.Sleep(time.Second)
		st.more.Store(1)
		st.gone.Store(false)
		if !p.Wait(t.Context(), 20*time.Second) {
			t.Error("it was not woken")
		}
	})
}
