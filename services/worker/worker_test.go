package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
)

func TestAnswererTellsWhatTheStoreKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, &fakeStore{heads: map[feed.Name]feed.Cursor{}}, Options{})
		synctest.Wait()
		b.store.setHead("a:1", at(1, 5))
		b.bus.ask("a:1", "a:2")
		if h := b.bus.head("a:1"); h != bus.At(at(1, 5)) {
			t.Errorf("a:1 was told as %v", h)
		}
		if h := b.bus.head("a:2"); h != bus.At(feed.Cursor{}) {
			t.Errorf("a:2, which doesn't exist, was told as %v", h)
		}
	})
}

func TestAnswererLeavesUnknownWhatItCannotFindOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, &fakeStore{heads: map[feed.Name]feed.Cursor{}}, Options{})
		synctest.Wait()
		b.store.setHead("a:1", at(1, 5))
		b.store.setBroken(true)
		b.bus.ask("a:1", "a:2")
		if b.bus.head("a:1").Known || b.bus.head("a:2").Known {
			t.Errorf("told heads that the store did not")
		}
		b.store.setBroken(false)
		b.bus.setBroken(true)
		b.bus.ask("a:1")
		b.bus.setBroken(false)
		b.bus.ask("a:1")
		if h := b.bus.head("a:1"); h != bus.At(at(1, 5)) {
			t.Errorf("a:1 was told as %v once all was well again", h)
		}
		log := b.log.String()
		if strings.Count(log, "bus asked for") != 2 || !strings.Contains(log, errBroken.Error()) ||
			!strings.Contains(log, bus.ErrUnavailable.Error()) {
			t.Errorf("the log doesn't name both errors:\n%s", log)
		}
	})
}

func policies() *policy.Set {
	return policy.NewSet(policy.Namespace{Retention: time.Hour}, map[string]policy.Namespace{
		"kept":  {},
		"short": {Retention: time.Minute},
	})
}

func TestRetentionPurgesWhatEachPolicyAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, &fakeStore{}, Options{Policies: policies(), PurgeEvery: 10 * time.Second})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var last time.Time
		rounds := 0
		for _, p := range b.store.purges {
			retention := time.Hour
			switch {
			case slices.Equal(p.scope.Namespaces, []string{"short"}) && !p.scope.Except:
				retention = time.Minute
				rounds++
				if gap := p.at.Sub(last); rounds > 1 && (gap < 9*time.Second || gap > 11*time.Second) {
					t.Errorf("purged after %s, want 10s give or take a tenth", gap)
				}
				last = p.at
			case !slices.Equal(p.scope.Namespaces, []string{"kept", "short"}) || !p.scope.Except:
				t.Errorf("purged %+v, which is to be kept", p.scope)
			}
			if kept := p.at.Sub(p.before); kept != retention {
				t.Errorf("purged %+v after %s, want %s", p.scope, kept, retention)
			}
		}
		for _, age := range b.store.forgot {
			if age != 24*time.Hour {
				t.Errorf("outcomes were forgotten after %s, want 24h", age)
			}
		}
		if len(b.store.forgot) != rounds {
			t.Errorf("outcomes were forgotten %d times in %d rounds", len(b.store.forgot), rounds)
		}
		if rounds < 54 || rounds > 67 || len(b.store.purges) != 2*rounds {
			t.Errorf("%d purges in %d rounds in 10 minutes", len(b.store.purges), rounds)
		}
	})
}

func TestRetentionGoesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{refuse: func(scope feed.Scope) bool { return scope.Except }}
		b := run(t, s, Options{Policies: policies(), PurgeEvery: time.Hour})
		time.Sleep(time.Hour + 10*time.Second)
		synctest.Wait()
		others := 0
		for _, p := range s.purges {
			if !p.scope.Except {
				others++
			}
		}
		if others == 0 || 2*others != len(s.purges) {
			t.Errorf("one policy's error kept another's tombstones: %d of %d purges", others, len(s.purges))
		}
		if others < 3 {
			t.Errorf("tried %d times within 10s", others)
		}
		s.mu.Lock()
		s.refuse = nil
		tried := len(s.purges)
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if again := len(s.purges) - tried; again != 2 {
			t.Errorf("%d purges within 2 minutes of all being well, want one round", again)
		}
		if log := b.log.String(); !strings.Contains(log, "job=retention") || !strings.Contains(log, errBroken.Error()) {
			t.Errorf("the log doesn't name the error:\n%s", log)
		}
	})
}

func manyFeeds(n int) *fakeStore {
	s := &fakeStore{heads: make(map[feed.Name]feed.Cursor)}
	for i := range n {
		s.heads[feed.Name(fmt.Sprintf("walk:%05d", i))] = at(1, int64(i))
	}
	return s
}

// wantAllTold compares the bus with the store.
func (b *bench) wantAllTold() {
	b.Helper()
	for n, c := range b.store.heads {
		if h := b.bus.head(n); h != bus.At(c) {
			b.Fatalf("%s at %s was told as %v", n, c, h)
		}
	}
}

func TestWalkTellsAllHeadsAgainAndAgain(t *testing.T) {
	for _, feeds := range []int{0, 1, 499, 500, 501, 1750, 20_000} {
		t.Run(fmt.Sprint(feeds), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := run(t, manyFeeds(feeds), Options{})
				time.Sleep(70 * time.Second)
				synctest.Wait()
				b.wantAllTold()
				for range 5 {
					b.bus.forget() // lost heads are back within a walk
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					b.wantAllTold()
				}
				b.wantPaced(feeds/pageSize+1, 54*time.Second, 66*time.Second)
			})
		})
	}
}

// wantPaced looks at all walks but the first, which doesn't know how long it is: how many pages, how long, how even.
func (b *bench) wantPaced(pages int, least, most time.Duration) {
	b.Helper()
	var walks [][]page
	for _, p := range b.store.pagesFrom(0) {
		if p.after == "" {
			walks = append(walks, nil)
		}
		walks[len(walks)-1] = append(walks[len(walks)-1], p)
	}
	for i, walk := range walks[:len(walks)-1] {
		if len(walk) != pages {
			b.Errorf("walk %d had %d pages, want %d", i, len(walk), pages)
		}
		took := walks[i+1][0].at.Sub(walk[0].at)
		if took < least || took > most {
			b.Errorf("walk %d took %s, want %s to %s", i, took, least, most)
		}
		for j := 1; j < len(walk) && i > 0; j++ {
			if gap, even := walk[j].at.Sub(walk[j-1].at), time.Minute/time.Duration(pages); gap < even/2 || gap > 2*even {
				b.Errorf("walk %d paused %s before page %d, want about %s", i, gap, j, even)
			}
		}
	}
}

func TestWalkGoesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, manyFeeds(2900), Options{})
		time.Sleep(1500 * time.Millisecond) // amid the first walk
		synctest.Wait()
		b.store.setBroken(true)
		time.Sleep(time.Minute)
		b.store.setBroken(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.bus.setBroken(true)
		tried := len(b.store.pagesFrom(0))
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, p := range b.store.pagesFrom(tried)[1:] {
			if first := b.store.pagesFrom(tried)[0]; p.after != first.after {
				t.Errorf("went on to the page after %q, though the one after %q could not be told", p.after, first.after)
			}
		}
		b.bus.setBroken(false)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		b.wantAllTold()
		failures, before := 0, feed.Name("")
		for _, p := range b.store.pagesFrom(0) {
			if p.err != nil {
				failures++
			}
			if p.after < before && p.after != "" || p.after == "" && before != "" && before != "walk:02499" {
				t.Errorf("went from %q to %q", before, p.after)
			}
			before = p.after
		}
		if failures < 3 || failures > 20 {
			t.Errorf("tried %d times in a minute of a broken store, want a backoff", failures)
		}
		log := b.log.String()
		if !strings.Contains(log, "job=walk") || !strings.Contains(log, errBroken.Error()) ||
			!strings.Contains(log, bus.ErrUnavailable.Error()) {
			t.Errorf("the log doesn't name both errors:\n%s", log)
		}
	})
}

// TestWalkCatchesUpWithGrowth: a set that has grown since the last walk is not walked at the old one's pace.
func TestWalkCatchesUpWithGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, manyFeeds(600), Options{})
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		b.store.mu.Lock()
		b.store.heads = manyFeeds(20_000).heads
		b.store.mu.Unlock()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		b.wantAllTold()
	})
}

func TestRunEndsInTheMidstOfAnything(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, time.Second, 30 * time.Second, 90 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := manyFeeds(2000)
			s.slow = 100 * time.Millisecond
			b := run(t, s, Options{Policies: policies()})
			time.Sleep(after)
			begin := time.Now()
			b.end()
			if err := <-b.ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			if took := time.Since(begin); took != 0 {
				t.Errorf("Run went on for %s", took)
			}
			b.ended <- nil // for the clean-up
			if log := b.log.String(); log != "" {
				t.Errorf("ending is not worth a log:\n%s", log)
			}
		})
	}
}

// TestAJobThatFailsOftenIsToldOfOnceAMinute: servers may be away for hours.
func TestAJobThatFailsOftenIsToldOfOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lockedBuffer{}
		w := New(Options{Store: &fakeStore{}, Bus: &fakeBus{}, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.NewTextHandler(log, nil))})
		ctx, end := context.WithTimeout(t.Context(), 10*time.Minute-time.Second)
		defer end()
		tries := 0
		w.repeat(ctx, "failing", time.Second, 0, func(context.Context) (time.Duration, error) { tries++; return time.Hour, errBroken })
		if n := strings.Count(log.String(), "level=WARN"); n < 9 || n > 10 || tries < 300 {
			t.Errorf("told %d times of %d failures in 10 minutes", n, tries)
		}
	})
}
