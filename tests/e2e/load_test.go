package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// follower is one who follows a feed with the Go client, through whatever happens.
type follower struct {
	feed  string
	state doorbell.State
	err   error
	wrong []string

	mu sync.Mutex
	// Guarded by mu.
	cursor string   // the state's, when it was last whole
	heard  []string // of the client's status, each with its time
}

func (f *follower) run(ctx context.Context, client *doorbell.Client, limit int) {
	last := int64(0)
	options := doorbell.FollowOptions{Limit: limit, OnStatus: func(status doorbell.Status) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.heard = append(f.heard, fmt.Sprintf("%s %s %v", time.Now().Format("05.000"), status.Mode, status.Err))
	}}
	for event, err := range client.Follow(ctx, f.feed, options) {
		if err != nil {
			f.err = err
			return
		}
		switch event.Kind {
		case doorbell.CaughtUp:
		case doorbell.Changed:
			if event.Change.Seq <= last {
				f.wrong = append(f.wrong, fmt.Sprintf("%d after %d", event.Change.Seq, last))
			}
			last = event.Change.Seq
		case doorbell.Reset, doorbell.Trimmed:
			f.wrong = append(f.wrong, fmt.Sprintf("%s at %s", event.Kind, event.Cursor))
		}
		before := f.state.Cursor
		f.state.Apply(event)
		if order, err := doorbell.CompareCursors(before, f.state.Cursor); err != nil || order > 0 {
			f.wrong = append(f.wrong, fmt.Sprintf("the cursor went from %s to %s", before, f.state.Cursor))
		}
		if event.Kind == doorbell.CaughtUp {
			f.mu.Lock()
			f.cursor = event.Cursor
			f.mu.Unlock()
		}
	}
}

// where tells where the follower is, and how it came there.
func (f *follower) where() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%s at %s\n%s", f.feed, f.cursor, strings.Join(f.heard, "\n"))
}

func (f *follower) at() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

// TestManyFollowersThroughKills: 8 writers and 20 followers on 5 feeds, the server killed in the middle, twice. Every follower
// ends with what a snapshot says, and nothing is left of it.
func TestManyFollowersThroughKills(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // after all others: the last to come is the first to go
	server := doorbelltest.Dev(t)
	transport := doorbelltest.HTTP(t)
	defer transport.CloseIdleConnections()
	client := server.Client(doorbell.WithHTTPClient(transport))

	var writers []*writer
	for i := range 8 {
		writers = append(writers, &writer{name: fmt.Sprintf("w%d", i), feed: fmt.Sprintf("load:%d", i%5), client: client})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	var followers []*follower
	follow := func(n int) {
		for range n {
			f := &follower{feed: fmt.Sprintf("load:%d", len(followers)%5)}
			limit := []int{0, 7, 100}[len(followers)%3] // some read in small pages
			followers = append(followers, f)
			following.Go(func() { f.run(ctx, client, limit) })
		}
	}

	follow(10)
	writeUntil(t, writers, 150, server.Kill)
	server.Restart()
	follow(10) // these begin in the middle of it
	writeUntil(t, writers, 150, server.Kill)
	server.Restart()
	stop, end := context.WithCancel(t.Context())
	var acks atomic.Int64
	var last sync.WaitGroup
	for _, w := range writers {
		last.Go(func() {
			if err := w.run(stop, &acks); err != nil {
				t.Error(err)
			}
		})
	}
	doorbelltest.Eventually(t, "more batches are acknowledged", func() bool { return acks.Load() > 100 })
	end()
	last.Wait()

	snapshots := map[string]*doorbell.State{}
	for _, w := range writers {
		state, err := client.Load(t.Context(), w.feed)
		if err != nil {
			t.Fatal(err)
		}
		snapshots[w.feed] = state
	}
	for _, feed := range slices.Sorted(maps.Keys(snapshots)) {
		check(t, feed, writers, snapshots[feed])
	}
	for i, f := range followers {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("follower %d: %s", i, f.where())
			}
		})
	}
	for i, f := range followers {
		doorbelltest.Eventually(t, fmt.Sprintf("follower %d of %s is at %s", i, f.feed, snapshots[f.feed].Cursor), func() bool {
			return f.at() == snapshots[f.feed].Cursor
		})
	}
	cancel()
	following.Wait()
	for i, f := range followers {
		doorbelltest.SameState(t, fmt.Sprintf("follower %d of %s", i, f.feed), f.state, snapshots[f.feed])
		if len(f.wrong) > 0 || f.err == nil || ctx.Err() == nil {
			t.Errorf("follower %d of %s ended with %v, and saw %q", i, f.feed, f.err, f.wrong)
		}
	}
}
