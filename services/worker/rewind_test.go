package worker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// rewoundStore is a sweptStore whose history may be another one than that of its feeds.
type rewoundStore struct {
	sweptStore
	rewind  store.Rewind
	gone    bool // Changed says that it has gone back
	resumed int
	renewed map[feed.Name]int
}

func (s *rewoundStore) Changed(ctx context.Context, since store.Horizon) ([]store.Listed, store.Horizon, error) {
	s.mu.Lock()
	gone := s.gone
	s.mu.Unlock()
	if gone && since != "" {
		return nil, "", store.ErrRewound
	}
	return s.sweptStore.Changed(ctx, since)
}

func (s *rewoundStore) Rewound(context.Context) (store.Rewind, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rewind, nil
}

func (s *rewoundStore) Suspend(context.Context, store.Horizon) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewind, s.gone = store.Rewind{ID: "late", Late: true}, false
	return nil
}

func (s *rewoundStore) Renew(_ context.Context, seen []store.Listed) (heads []store.Listed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range seen {
		h := s.heads[l.Name]
		h.Epoch = max(h.Epoch, l.Head.Epoch) + 1
		s.heads[l.Name] = h
		s.renewed[l.Name]++
		heads = append(heads, store.Listed{Name: l.Name, Head: h})
	}
	return heads, nil
}

func (s *rewoundStore) Resume(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.rewind.ID {
		return store.ErrRewound
	}
	s.rewind = store.Rewind{}
	s.resumed++
	return nil
}

// TestRewoundDatabase: which feeds get new epochs before writes are taken again. The bus was told of all feeds; then the store
// went back, of which each case says how it is noticed and what the bus has become meanwhile.
func TestRewoundDatabase(t *testing.T) {
	history := store.Rewind{ID: "two"}
	for name, c := range map[string]struct {
		lose func(s *rewoundStore, b *rememberingBus)
		want map[feed.Name]int
		wait time.Duration
	}{
		"the bus knows": {
			func(s *rewoundStore, _ *rememberingBus) { s.rewind = history },
			map[feed.Name]int{"behind": 1, "lost": 1}, 0,
		},
		"the bus doesn't know one": {
			func(s *rewoundStore, b *rememberingBus) { s.rewind = history; delete(b.told, "same") },
			map[feed.Name]int{"behind": 1, "lost": 1, "same": 1}, 0,
		},
		"the bus has forgotten": {
			func(s *rewoundStore, b *rememberingBus) {
				s.rewind = history
				b.mark = bus.Mark{Life: "second", Text: b.mark.Text}
				delete(b.told, "lost")
			},
			map[feed.Name]int{"behind": 1, "same": 1}, 0,
		},
		"it was noticed late": {
			func(s *rewoundStore, _ *rememberingBus) { s.gone = true },
			map[feed.Name]int{"behind": 1, "same": 1, "lost": 1}, 0,
		},
		"the bus is away": {
			func(s *rewoundStore, b *rememberingBus) { s.rewind, b.broken = history, true },
			map[feed.Name]int{"behind": 1, "same": 1}, busPatience,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &rewoundStore{
					sweptStore: sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{}}, history: "one"},
					renewed:    map[feed.Name]int{},
				}
				b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{}}, mark: bus.Mark{Life: "first"}}
				for _, n := range []feed.Name{"same", "behind", "lost"} {
					s.commit(n, 7)
				}
				w := New(Options{Store: s, Bus: b, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.DiscardHandler), WalkEvery: 1000 * time.Hour})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				time.Sleep(2 * time.Second)
				s.mu.Lock()
				b.mu.Lock()
				s.heads["behind"] = feed.Cursor{Epoch: 1, Seq: 5}
				delete(s.heads, "lost")
				s.sorted, s.log, s.history = nil, nil, "two"
				c.lose(s, b)
				b.mu.Unlock()
				s.mu.Unlock()
				if c.wait > 0 {
					time.Sleep(c.wait - 2*time.Second)
					s.mu.Lock()
					if s.resumed != 0 {
						t.Error("it didn't wait for the bus")
					}
					s.mu.Unlock()
				}
				time.Sleep(6 * time.Second)
				b.setBroken(false)
				time.Sleep(3 * time.Second)
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				for n, times := range c.want {
					if got := s.renewed[n]; got != times {
						t.Errorf("%s got %d new epochs; want %d", n, got, times)
					}
					if b.told[n] != bus.At(s.heads[n]) {
						t.Errorf("the bus has %s at %v; want %s", n, b.told[n], s.heads[n])
					}
				}
				if len(s.renewed) != len(c.want) || s.resumed != 1 {
					t.Errorf("renewed: %v, resumed %d times; want %v, once", s.renewed, s.resumed, c.want)
				}
			})
		})
	}
}

// TestNoWritesBeforeAllHaveNewEpochs: what fails on the way is tried again, and nothing resumed before.
func TestNoWritesBeforeAllHaveNewEpochs(t *testing.T) {
	s := &rewoundStore{
		sweptStore: sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{"a": {Epoch: 1, Seq: 5}}}, history: "two"},
		renewed:    map[feed.Name]int{}, rewind: store.Rewind{ID: "two"},
	}
	b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{"a": bus.At(at(1, 7))}}, mark: bus.Mark{Life: "first", Whole: true}}
	w := New(Options{Store: s, Bus: b, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.DiscardHandler)})
	r := &rewind{Worker: w, rewindable: s, memory: b}
	s.setBroken(true)
	if err := r.mend(t.Context()); !errors.Is(err, errBroken) || s.resumed != 0 {
		t.Fatalf("with a broken store: %v, resumed %d times", err, s.resumed)
	}
	s.setBroken(false)
	b.refusePublish = true
	if err := r.mend(t.Context()); err != nil || s.resumed != 1 || s.renewed["a"] != 1 {
		t.Fatalf("mended: %v, resumed %d times, renewed %v", err, s.resumed, s.renewed)
	}
}

// TestWalkFindsWhatNobodyNoticed: a head on the bus that the store has never heard of, and one that it has come up to meanwhile.
func TestWalkFindsWhatNobodyNoticed(t *testing.T) {
	s := &rewoundStore{
		sweptStore: sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{"a": at(1, 5), "b": at(1, 9)}}, history: "one"},
		renewed:    map[feed.Name]int{},
	}
	b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{"a": bus.At(at(1, 7)), "b": bus.At(at(1, 9))}}}
	w := &walk{Worker: New(Options{Store: s, Bus: b, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.DiscardHandler)})}
	stale := []store.Listed{{Name: "a", Head: at(1, 5)}, {Name: "b", Head: at(1, 8)}}
	if err := w.renewBehind(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	if len(s.renewed) != 1 || s.renewed["a"] != 1 || b.head("a") != bus.At(at(2, 5)) || b.head("b") != bus.At(at(1, 9)) {
		t.Errorf("renewed: %v; the bus: %v, %v", s.renewed, b.head("a"), b.head("b"))
	}
}

// TestNobodyIsToldOfARewoundDatabase before its feeds have new epochs.
func TestNobodyIsToldOfARewoundDatabase(t *testing.T) {
	s := &rewoundStore{
		sweptStore: sweptStore{fakeStore: fakeStore{heads: map[feed.Name]feed.Cursor{"a": at(1, 5)}}, history: "two"},
		renewed:    map[feed.Name]int{}, rewind: store.Rewind{ID: "two"},
	}
	b := &rememberingBus{fakeBus: fakeBus{told: map[feed.Name]bus.Head{}}}
	w := New(Options{Store: s, Bus: b, Policies: policy.NewSet(policy.Namespace{}, nil), Logger: slog.New(slog.DiscardHandler)})
	for _, rewound := range []bool{true, false} {
		for what, tell := range map[string]func() error{
			"the walk":   func() error { _, err := (&walk{Worker: w}).step(t.Context()); return err },
			"the answer": func() error { return w.tell(t.Context(), []feed.Name{"a"}) },
		} {
			clear(b.told)
			if err := tell(); err != nil || b.head("a").Known == rewound {
				t.Errorf("rewound: %v; %s told %+v, %v", rewound, what, b.head("a"), err)
			}
		}
		s.rewind = store.Rewind{}
	}
}
