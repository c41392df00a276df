//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// outcome is one write as its writer knows it.
type outcome struct {
	key   string
	begun time.Time
	ended time.Time
	seq   int64 // 0: it was not acknowledged
	err   error
}

func (o outcome) took() time.Duration { return o.ended.Sub(o.begun) }

// load is writers, one for each feed, and followers of two kinds: ears, which only listen, and clients, which build what
// the feed holds. All of them are behind nginx.
type load struct {
	t     *testing.T
	c     *cluster.Cluster
	feeds []string
	ears  []*cluster.Ear

	stop      context.CancelFunc
	writing   sync.WaitGroup
	unfollow  context.CancelFunc
	following sync.WaitGroup
	copies    []*follower

	mu       sync.Mutex
	outcomes map[string][]outcome // guarded by mu; by feed
}

// follower builds a feed's state with the Go client.
type follower struct {
	feed  string
	state doorbell.State
	wrong []string

	mu     sync.Mutex
	cursor string // guarded by mu: the state's, when it was last whole
}

// startLoad lets a writer write to each of the feeds at that pace, with so many followers in all.
func startLoad(t *testing.T, c *cluster.Cluster, feeds int, every time.Duration, ears, copies int) *load {
	t.Helper()
	l := &load{t: t, c: c, outcomes: map[string][]outcome{}}
	for i := range feeds {
		l.feeds = append(l.feeds, fmt.Sprintf("load:%d", i))
	}
	for i := range ears {
		l.ears = append(l.ears, cluster.Listen(t, c.Nginx.URL(), l.feeds[i%feeds]))
	}
	client := c.Client()
	var following, writing context.Context
	following, l.unfollow = context.WithCancel(t.Context())
	for i := range copies {
		f := &follower{feed: l.feeds[i%feeds]}
		l.copies = append(l.copies, f)
		l.following.Go(func() { f.run(following, client) })
	}
	writing, l.stop = context.WithCancel(t.Context())
	for _, name := range l.feeds {
		l.writing.Go(func() { l.write(writing, client, name, every) })
	}
	t.Cleanup(func() {
		l.stop()
		l.unfollow()
		l.writing.Wait()
		l.following.Wait()
	})
	return l
}

func (l *load) write(ctx context.Context, client *doorbell.Client, name string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		o := outcome{key: fmt.Sprintf("k%06d", n), begun: time.Now()}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), doorbelltest.Patience)
		// A POST, with a key that nothing else writes and one that all writes of the feed share.
		written, err := client.Write(within, name, []doorbell.Change{
			{Key: o.key, Value: json.RawMessage(strconv.Itoa(n))}, {Key: "latest", Value: json.RawMessage(strconv.Itoa(n))},
		})
		cancel()
		o.ended = time.Now()
		if o.err = err; err == nil {
			o.seq = cluster.Seq(written.Cursor)
		}
		l.mu.Lock()
		l.outcomes[name] = append(l.outcomes[name], o)
		l.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (f *follower) run(ctx context.Context, client *doorbell.Client) {
	for event, err := range client.Follow(ctx, f.feed, doorbell.FollowOptions{}) {
		if err != nil {
			if ctx.Err() == nil {
				f.wrong = append(f.wrong, err.Error())
			}
			return
		}
		if event.Kind == doorbell.Reset || event.Kind == doorbell.Trimmed {
			f.wrong = append(f.wrong, fmt.Sprintf("%s at %s", event.Kind, event.Cursor))
		}
		if order, err := doorbell.CompareCursors(f.state.Cursor, event.Cursor); err != nil || order > 0 {
			f.wrong = append(f.wrong, fmt.Sprintf("the cursor went from %s to %s", f.state.Cursor, event.Cursor))
		}
		f.state.Apply(event)
		if event.Kind == doorbell.CaughtUp {
			f.mu.Lock()
			f.cursor = event.Cursor
			f.mu.Unlock()
		}
	}
}

func (f *follower) at() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

// since are the writes that ended after at, of one feed or ("") of all.
func (l *load) since(at time.Time, feed string) []outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []outcome
	for name, all := range l.outcomes {
		if feed != "" && name != feed {
			continue
		}
		first, _ := slices.BinarySearchFunc(all, at, func(o outcome, at time.Time) int { return o.ended.Compare(at) })
		found = append(found, all[first:]...)
	}
	return found
}

// waitWrites waits until so many writes that began after at were acknowledged for each feed, and gives the last seq of each.
func (l *load) waitWrites(at time.Time, n int) map[string]int64 {
	l.t.Helper()
	last := map[string]int64{}
	doorbelltest.Eventually(l.t, fmt.Sprintf("%d writes to each feed are acknowledged", n), func() bool {
		for _, name := range l.feeds {
			acked := 0
			for _, o := range l.since(at, name) {
				if o.seq > 0 && o.begun.After(at) {
					acked++
					last[name] = o.seq
				}
			}
			if acked < n {
				return false
			}
		}
		return true
	})
	return last
}

// end stops the writers and checks what came of it all: every follower has what the snapshot has, and that is every
// acknowledged write, and no sockets were lost.
func (l *load) end(socketsStay bool) {
	t := l.t
	t.Helper()
	l.stop()
	l.writing.Wait()
	for _, name := range l.feeds {
		state, err := l.c.Client().Load(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		absent := 0
		for n, o := range l.outcomes[name] {
			item, there := state.Items[o.key]
			switch {
			case o.seq == 0 && !there:
				absent++
			case o.seq == 0: // it happened, and its writer wasn't told
			case !there || item.Seq != o.seq-1 || string(item.Value) != strconv.Itoa(n):
				t.Errorf("%s: the write acknowledged as %d is %+v (there: %v)", name, o.seq, item, there)
			}
		}
		if len(state.Items) != len(l.outcomes[name])-absent+1 { // and "latest"
			t.Errorf("%s has %d items; %d writes, of which %d did not happen", name, len(state.Items), len(l.outcomes[name]), absent)
		}
		for i, f := range l.copies {
			if f.feed == name {
				doorbelltest.Eventually(t, fmt.Sprintf("client %d of %s is at %s (it is at %s)", i, name, state.Cursor, f.at()), func() bool {
					return f.at() == state.Cursor
				})
			}
		}
	}
	l.unfollow()
	l.following.Wait()
	for i, f := range l.copies {
		want, err := l.c.Client().Load(t.Context(), f.feed)
		if err != nil {
			t.Fatal(err)
		}
		doorbelltest.SameState(t, fmt.Sprintf("client %d", i), f.state, want)
		if len(f.wrong) > 0 {
			t.Errorf("client %d of %s saw %q", i, f.feed, f.wrong)
		}
	}
	if socketsStay {
		l.wantSockets()
	}
}

// wantSockets checks that all sockets are open.
func (l *load) wantSockets() {
	l.t.Helper()
	ended := 0
	var last error
	for _, e := range l.ears {
		if err := e.Err(); err != nil {
			ended++
			last = err
		}
	}
	if ended > 0 {
		l.t.Errorf("%d of %d sockets ended, one of them with: %v", ended, len(l.ears), last)
	}
}

// problem is what Doorbell or nginx said, if anything.
func problem(err error) *doorbell.Problem {
	p, _ := errors.AsType[*doorbell.Problem](err)
	return p
}
