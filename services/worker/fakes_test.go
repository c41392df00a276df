package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

var errBroken = errors.New("it is broken")

// fakeStore is a Truth of heads alone.
type fakeStore struct {
	mu     sync.Mutex
	heads  map[feed.Name]feed.Cursor
	sorted []feed.Name // the heads' names, when there are as many
	broken bool
	refuse func(feed.Scope) bool // Purge of these fails
	purges []purge
	forgot []time.Duration // the ages from which Forget forgot
	pages  []page

	slow time.Duration // what Feeds takes; static
}

type purge struct {
	scope  feed.Scope
	before time.Time
	at     time.Time
}

type page struct {
	after feed.Name
	at    time.Time
	err   error
}

func (s *fakeStore) Heads(ctx context.Context, names []feed.Name) ([]feed.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return nil, errBroken
	}
	heads := make([]feed.Cursor, len(names))
	for i, n := range names {
		heads[i] = s.heads[n]
	}
	return heads, ctx.Err()
}

func (s *fakeStore) Feeds(ctx context.Context, after feed.Name, limit int) ([]store.Listed, error) {
	sleep(ctx, s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := ctx.Err()
	if s.broken {
		err = errBroken
	}
	s.pages = append(s.pages, page{after, time.Now(), err})
	if err != nil {
		return nil, err
	}
	if len(s.sorted) != len(s.heads) {
		s.sorted = slices.Sorted(maps.Keys(s.heads))
	}
	begin, found := slices.BinarySearch(s.sorted, after)
	if found {
		begin++
	}
	names := s.sorted[begin:min(begin+limit, len(s.sorted))]
	all := make([]store.Listed, len(names))
	for i, n := range names {
		all[i] = store.Listed{Name: n, Head: s.heads[n]}
	}
	return all, nil
}

func (s *fakeStore) Forget(_ context.Context, before time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgot = append(s.forgot, time.Since(before))
	if s.broken {
		return 0, errBroken
	}
	return 0, nil
}

func (s *fakeStore) Purge(ctx context.Context, scope feed.Scope, before time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purges = append(s.purges, purge{scope, before, time.Now()})
	if s.broken || s.refuse != nil && s.refuse(scope) {
		return 0, errBroken
	}
	return 3, ctx.Err()
}

func (s *fakeStore) setBroken(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// pagesFrom is what Feeds was asked for, but for the first few times.
func (s *fakeStore) pagesFrom(i int) []page {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pages[i:])
}

func (s *fakeStore) setHead(n feed.Name, c feed.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads[n] = c
}

// fakeBus is a Signals that knows what it was told, and asks when it's made to.
type fakeBus struct {
	mu       sync.Mutex
	told     map[feed.Name]bus.Head
	count    int
	broken   bool
	answerer bus.Answerer
	// refusePublish: what else there is works.
	refusePublish bool
	asked         context.Context
	stop          context.CancelFunc
}

func (b *fakeBus) Publish(_ context.Context, n feed.Name, c feed.Cursor) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken || b.refusePublish {
		return bus.ErrUnavailable
	}
	b.count++
	if h := bus.At(c); h.Newer(b.told[n]) {
		b.told[n] = h
	}
	return nil
}

func (b *fakeBus) Heads(_ context.Context, names []feed.Name, _ time.Duration) ([]bus.Head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return nil, bus.ErrUnavailable
	}
	heads := make([]bus.Head, len(names))
	for i, n := range names {
		heads[i] = b.told[n]
	}
	return heads, nil
}

func (b *fakeBus) Answer(a bus.Answerer) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answerer = a
	b.asked, b.stop = context.WithCancel(context.Background())
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.stop()
		b.answerer = nil
	}
}

// ask is what the bus does with heads that it doesn't know.
func (b *fakeBus) ask(names ...feed.Name) {
	b.mu.Lock()
	a, ctx := b.answerer, b.asked
	b.mu.Unlock()
	a(ctx, names)
}

func (b *fakeBus) setBroken(broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = broken
}

func (b *fakeBus) head(n feed.Name) bus.Head {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told[n]
}

// forget is the loss of all heads.
func (b *fakeBus) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.told)
}

// bench is a worker between fakes, running in a test's bubble.
type bench struct {
	*testing.T
	store *fakeStore
	bus   *fakeBus
	log   *lockedBuffer
	end   context.CancelFunc
	ended chan error
}

func run(t *testing.T, store *fakeStore, opts Options) *bench {
	ctx, end := context.WithCancel(t.Context())
	b := &bench{
		T: t, store: store, bus: &fakeBus{told: make(map[feed.Name]bus.Head)}, log: &lockedBuffer{},
		end: end, ended: make(chan error, 1),
	}
	opts.Store, opts.Bus = b.store, b.bus
	opts.Logger = slog.New(slog.NewTextHandler(b.log, nil))
	if opts.Policies == nil {
		opts.Policies = policy.NewSet(policy.Namespace{}, nil)
	}
	w := New(opts)
	go func() { b.ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-b.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if b.bus.answerer != nil {
			t.Errorf("Run left its Answerer with the bus")
		}
	})
	return b
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func at(epoch, seq int64) feed.Cursor { return feed.Cursor{Epoch: feed.Epoch(epoch), Seq: seq} }
