package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// sweptStore is a fakeStore that tells what has changed: its horizon is a place in a log of writes.
type sweptStore struct {
	fakeStore
	log     []feed.Name
	history string
	asked   []store.Horizon
}

func (s *sweptStore) commit(n feed.Name, seq int64) {
	s.setHead(n, feed.Cursor{Epoch: 1, Seq: seq})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, n)
}

func (s *sweptStore) Changed(_ context.Context, since store.Horizon) ([]store.Listed, store.Horizon, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, since)
	if s.broken {
		return nil, "", store.ErrUnavailable
	}
	next := store.Horizon(s.history + "/" + strconv.Itoa(len(s.log)))
	if since == "" {
		return nil, next, nil
	}
	if string(since[:len(s.history)]) != s.history {
		return nil, "", store.ErrHorizon
	}
	from, err := strconv.Atoi(string(since[len(s.history)+1:]))
	if err != nil {
		return nil, "", err
	}
	var listed []store.Listed
	for _, n := range slices.Compact(slices.Sorted(slices.Values(s.log[from:]))) {
		listed = append(listed, store.Listed{Name: n, Head: s.heads[n]})
	}
	return listed, next, nil
}

// rememberingBus is a fakeBus with a mark.
type rememberingBus struct {
	fakeBus
	mark bus.Mark
}

func (b *rememberingBus) Mark(context.Context) (bus.Mark, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return bus.Mark{}, bus.ErrUnavailable
	}
	return b.mark, nil
}

func (b *rememberingBus) Told(_ context.Context, each func([]bus.Told) error) error {
	b.mu.Lock()
	var told []bus.Told
	for n, h := range b.told {
		told = append(told, bus.Told{Name: n, Head: h})
	}
	broken := b.broken
	b.mu.Unlock()
	if broken {
		return bus.ErrUnavailable
	}
	return each(told)
}

func (b *rememberingBus) SetMark(_ context.Context, life, text string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if life != b.mark.Life {
		return bus.ErrForgotten
	}
	b.mark.Text, b.mark.Whole = text, true
	return nil
}

// forget makes the bus another life, with an older text of the mark.
func (b *rememberingBus) forget(life, text string, heads ...feed.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range heads {
		delete(b.told, n)
	}
	b.mark = bus.Mark{Life: life, Text: text}
}

func (b *rememberingBus) knows(n feed.Name, seq int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told[n] == bus.At(feed.Cursor{Epoch: 1, Seq: seq})
}

func (b *rememberingBus) published() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// swept runs a worker whose walk stays away after its first round.
func swept(t *testing.T, test func(s *sweptStore, b *rememberingBus)) {
	synctest.Test(t, func(t *testing.T) {
		s := &sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{}}, history: "one"}
		b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{}}, mark: bus.Mark{Life: "first"}}
		s.commit("old", 7)
		w := New(Options{Store: s, Bus: b, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.DiscardHandler), WalkEvery: 1000 * time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(2 * time.Second)
		test(s, b)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSweepSignalsWhatWasCommittedAndNotSignalled(t *testing.T) {
	swept(t, func(s *sweptStore, b *rememberingBus) {
		s.commit("lost", 3)
		s.commit("signalled", 5)
		if err := b.Publish(t.Context(), "signalled", feed.Cursor{Epoch: 1, Seq: 5}); err != nil {
			t.Fatal(err)
		}
		before := b.published()
		time.Sleep(2 * time.Second)
		if !b.knows("lost", 3) {
			t.Error("a change whose signal was lost has not been signalled after 2 s")
		}
		if n := b.published() - before; n != 1 {
			t.Errorf("%d heads were published; want the lost one alone, once", n)
		}
	})
}

func TestSweepTellsEverythingToABusThatKnowsNothing(t *testing.T) {
	swept(t, func(s *sweptStore, b *rememberingBus) {
		s.commit("new", 1)
		time.Sleep(2 * time.Second)
		b.forget("second", "", "old", "new")
		time.Sleep(2 * time.Second)
		if !b.knows("old", 7) || !b.knows("new", 1) || !b.mark.Whole {
			t.Errorf("after it forgot everything the bus knows %v, its mark is %+v", b.told, b.mark)
		}
	})
}

func TestSweepGoesBackToWhereTheMarkWas(t *testing.T) {
	swept(t, func(s *sweptStore, b *rememberingBus) {
		s.commit("kept", 1) // in the log at 1
		time.Sleep(2 * time.Second)
		s.commit("forgotten", 2) // at 2
		time.Sleep(2 * time.Second)
		before := b.published()
		b.forget("second", "one/2", "forgotten")
		time.Sleep(2 * time.Second)
		if !b.knows("forgotten", 2) {
			t.Error("what was published after the mark has not been told again")
		}
		if n := b.published() - before; n != 1 {
			t.Errorf("%d heads were told again; want the one since the mark", n)
		}
	})
}

func TestSweepBeginsAgainInAnotherHistory(t *testing.T) {
	swept(t, func(s *sweptStore, b *rememberingBus) {
		s.mu.Lock()
		s.history = "two"
		s.mu.Unlock()
		s.setHead("other", feed.Cursor{Epoch: 1, Seq: 9}) // and nothing of it in the log
		time.Sleep(2 * time.Second)
		if !b.knows("other", 9) {
			t.Error("the heads of another history have not been told")
		}
	})
}

func TestSweepIsPromptOnceTheBusIsBack(t *testing.T) {
	swept(t, func(s *sweptStore, b *rememberingBus) {
		b.setBroken(true)
		s.commit("meanwhile", 4)
		time.Sleep(10 * time.Minute) // a backoff would have grown long
		b.setBroken(false)
		time.Sleep(2500 * time.Millisecond)
		if !b.knows("meanwhile", 4) {
			t.Error("2.5 s after the bus is back, what was committed meanwhile has not been signalled")
		}
	})
}

func TestSweepMovesOnOnlyWhenAllIsTold(t *testing.T) {
	s := &sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{}}, history: "one"}
	b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{}}, mark: bus.Mark{Life: "first"}}
	w := New(Options{Store: s, Bus: b, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.DiscardHandler)})
	sw := &sweep{Worker: w, sweepable: s, memory: b}
	if _, err := sw.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.commit("a", 1)
	horizon := sw.horizon
	b.refusePublish = true
	if _, err := sw.step(t.Context()); !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("with a bus that refuses: %v", err)
	}
	if sw.horizon != horizon || b.mark.Text != string(horizon) {
		t.Fatalf("the horizon moved from %s to %s, the mark to %s, though nothing was told", horizon, sw.horizon, b.mark.Text)
	}
}

// TestSweepTakesOverSignalsThatAreOwed: who has published a feed that has a signal interval may die before the signal is due,
// with the head on the bus already.
func TestSweepTakesOverSignalsThatAreOwed(t *testing.T) {
	s := &sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{}}, history: "one"}
	b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{}}, mark: bus.Mark{Life: "first"}}
	policies := policy.NewSet(policy.Namespace{}, map[string]policy.Namespace{"paced": {SignalInterval: time.Second}})
	w := New(Options{Store: s, Bus: b, Policies: policies, Logger: slog.New(slog.DiscardHandler)})
	sw := &sweep{Worker: w, sweepable: s, memory: b}
	step := func() (published int) {
		t.Helper()
		before := b.published()
		if _, err := sw.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.published() - before
	}
	step()
	for _, n := range []feed.Name{"paced:1", "free:1"} {
		s.commit(n, 1)
		if err := b.Publish(t.Context(), n, feed.Cursor{Epoch: 1, Seq: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := step(); n != 1 {
		t.Errorf("%d heads were published; want the one whose signal is owed", n)
	}
	if n := step(); n != 0 {
		t.Errorf("%d heads were published again", n)
	}
}
