package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Hold begins a transaction that writes to a feed that exists, touching it, and leaves it open until commit is called.
type Hold func(t *testing.T, s store.Store, name feed.Name) (commit func())

// RunSweep runs the suite of a [store.Sweepable]. Stores should take their time over writes.
func RunSweep(t *testing.T, open Open, hold Hold) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *sweep)
	}{
		{"every kind of write is listed once", testChanged},
		{"a long transaction is listed after its commit", testChangedLate},
		{"horizons of other histories are refused", testChangedForeign},
		{"nothing is skipped under load", testChangedLoad},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, open)
			s := &sweep{env: e, hold: hold, Sweepable: e.Store.(store.Sweepable)}
			s.want("")
			c.test(t, s)
		})
	}
}

// sweep is a store and how far it has been swept.
type sweep struct {
	*env
	store.Sweepable
	hold    Hold
	horizon store.Horizon
}

// want sweeps on, and wants those feeds at their present heads.
func (s *sweep) want(names string) {
	s.t.Helper()
	s.horizon = s.wantSince(s.horizon, names)
}

func (s *sweep) wantSince(since store.Horizon, names string) store.Horizon {
	s.t.Helper()
	listed, next, err := s.Changed(s.ctx, since)
	if err != nil || next == "" {
		s.t.Fatalf("changed since %q: %q, %v", since, next, err)
	}
	var got []string
	for _, l := range listed {
		got = append(got, string(l.Name))
		if head := s.head(l.Name); l.Head != head {
			s.t.Fatalf("%s is listed at %s; its head is %s", l.Name, l.Head, head)
		}
	}
	if g := strings.Join(got, " "); g != names {
		s.t.Fatalf("changed since %q to %q: %q; want %q", since, next, g, names)
	}
	return next
}

func testChanged(t *testing.T, s *sweep) {
	s.want("")
	s.put("b", "x")
	s.put("a:1", "x")
	s.want("a:1 b")
	s.want("")
	s.put("b", "y")
	s.put("b", "z")
	s.want("b")
	s.delete("b", "x")
	s.delete("a:1", "never") // changes nothing
	var none feed.Cursor
	if _, err := s.Append(s.ctx, "a:1", store.Write{Touch: true, IfHead: &none}); err == nil {
		t.Fatal("a condition that doesn't hold was taken")
	}
	s.want("b")
	s.append("a:1", store.Write{Touch: true})
	s.want("a:1")
	s.advance(time.Hour)
	if n, err := s.Purge(s.ctx, feed.Scope{Except: true}, s.now()); err != nil || n != 1 {
		t.Fatalf("purged %d, %v", n, err)
	}
	s.want("b")
	if _, err := s.Drop(s.ctx, "a:1", nil, nil); err != nil {
		t.Fatal(err)
	}
	s.want("a:1")
	s.want("")
}

func testChangedLate(t *testing.T, s *sweep) {
	s.put("a", "x")
	s.put("b", "x")
	s.want("a b")
	begin := s.horizon
	early := s.hold(t, s.Store, "a")
	s.put("c", "x")
	late := s.hold(t, s.Store, "b") // begun after c was committed
	s.want("c")
	s.put("d", "x")
	s.want("d") // and not c again, though what is open is older
	late()
	s.want("b")
	middle := s.horizon
	s.put("c", "y")
	s.want("c")
	early()
	s.want("a")
	s.want("")
	s.wantSince(begin, "a b c d")
	s.wantSince(middle, "a c")
}

func testChangedForeign(t *testing.T, s *sweep) {
	s.put("a", "x")
	id, snapshot, _ := strings.Cut(string(s.horizon), "/")
	for _, foreign := range []store.Horizon{"nonsense", "1.00000001/1:1:", store.Horizon(id + "0/" + snapshot)} {
		if listed, _, err := s.Changed(s.ctx, foreign); !errors.Is(err, store.ErrHorizon) {
			t.Fatalf("changed since %q: %v, %v; want ErrHorizon", foreign, listed, err)
		}
	}
	s.want("a")
}

// testChangedLoad: every write is to a feed of its own, so that none covers up for another.
func testChangedLoad(t *testing.T, s *sweep) {
	const writers, each = 8, 25
	listed := map[feed.Name]int{}
	look := func() {
		found, next, err := s.Changed(s.ctx, s.horizon)
		if err != nil {
			t.Fatal(err)
		}
		s.horizon = next
		for _, l := range found {
			listed[l.Name]++
		}
	}
	var all sync.WaitGroup
	ctx, done := context.WithCancel(s.ctx)
	for i := range writers {
		all.Go(func() {
			for n := range each {
				name := feed.Name(fmt.Sprintf("load:%d-%d", i, n))
				if _, err := s.Append(s.ctx, name, store.Write{Edits: puts("x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { all.Wait(); done() }()
	for ctx.Err() == nil {
		look()
	}
	look()
	for i := range writers {
		for n := range each {
			name := feed.Name(fmt.Sprintf("load:%d-%d", i, n))
			if listed[name] != 1 {
				t.Errorf("%s was listed %d times; want once", name, listed[name])
			}
		}
	}
}
