//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
)

const (
	loadClients = 200
	loadFeeds   = 20
	loadRate    = 200 // writes a second, over all feeds
	loadFor     = 20 * time.Second
	loadKeys    = 50 // items of a feed
	// appliedTarget is what write acknowledged → applied is meant to stay below, at the 99th percentile.
	appliedTarget = 50 * time.Millisecond
)

// acknowledged is one write, and when its answer had come.
type acknowledged struct {
	feed, seq int
	sent, at  time.Time
}

// applied is a change that a client has in its state, and since when.
type applied struct {
	seq int
	at  time.Time
}

// follower is a client as users have it: the client library's Follow, which hears signals and pulls, and a state.
type follower struct {
	feed  int
	begun chan struct{} // closed when it is live and has caught up
	ready sync.Once
	live  bool // of its own goroutine

	mu sync.Mutex
	// Guarded by mu.
	state   doorbell.State
	applied []applied
	err     error
}

func loadFeed(n int) string { return "bench:load-" + strconv.Itoa(n) }

// benchLoad measures acknowledged to applied while many clients follow and pull.
func benchLoad(ctx context.Context, out io.Writer, o options) error {
	return withPlatform(o.bin, "", func(p *platform) error {
		b, err := p.baselines()
		if err != nil {
			return err
		}
		followers, writes, pulls, err := load(ctx, p)
		if err != nil {
			return err
		}
		var toApplied, toAnswer []time.Duration
		for _, w := range writes {
			toAnswer = append(toAnswer, w.at.Sub(w.sent))
			for _, f := range followers {
				if f.feed == w.feed {
					toApplied = append(toApplied, f.since(w.seq).Sub(w.at))
				}
			}
		}
		heading(out, "load", fmt.Sprintf(
			"Postgres and Redis; one API, one gateway, one worker; %d clients follow %d feeds and pull; %d writes a second for %s",
			loadClients, loadFeeds, loadRate, loadFor))
		columns(out)
		row(out, "write acknowledged → applied, each client", toApplied)
		row(out, "write sent → acknowledged", toAnswer)
		b.rows(out)
		first, last := writes[0].sent, writes[len(writes)-1].sent
		fmt.Fprintf(out, "\n%d writes (%.0f a second), %d pulls, %d arrivals measured; all %d clients ended with what the server has.\n",
			len(writes), float64(len(writes)-1)/last.Sub(first).Seconds(), pulls, len(toApplied), len(followers))
		verdict(out, "write acknowledged → applied p99", appliedTarget, percentile(toApplied, 99))
		fmt.Fprintln(out, `To repeat it: make bench ARGS="-only load". The clients are on this machine and share its processors. `+
			"Negative: applied first.")
		return nil
	})
}

// counting counts the reads that pass.
type counting struct {
	http.RoundTripper

	pulls atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, "/v1/feeds/") {
		c.pulls.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// load has clients follow, writes, and returns when every client has the last write of its feed and is found to be right.
func load(ctx context.Context, p *platform) ([]*follower, []acknowledged, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * loadClients}
	defer transport.CloseIdleConnections()
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()

	count := &counting{RoundTripper: transport}
	client, err := doorbell.New(p.api.url(), doorbell.WithGateway(p.gateway.url()),
		doorbell.WithHTTPClient(&http.Client{Transport: count}))
	if err != nil {
		return nil, nil, 0, err
	}
	var followers []*follower
	for n := range loadClients {
		f := &follower{feed: n % loadFeeds, begun: make(chan struct{})}
		followers = append(followers, f)
		following.Go(func() { f.run(ctx, client) })
	}
	for n, f := range followers {
		if err := f.wait(ctx); err != nil {
			return nil, nil, 0, fmt.Errorf("client %d: %w", n, err)
		}
	}
	before := count.pulls.Load()
	writes, err := writeSteadily(ctx, p.api.url())
	if err != nil {
		return nil, nil, 0, err
	}
	newest := make([]int, loadFeeds)
	for _, w := range writes {
		newest[w.feed] = max(newest[w.feed], w.seq)
	}
	for n, f := range followers {
		if err := f.reach(ctx, newest[f.feed]); err != nil {
			return nil, nil, 0, fmt.Errorf("client %d, of %s: %w", n, loadFeed(f.feed), err)
		}
	}
	pulls := count.pulls.Load() - before
	for n, f := range followers {
		truth, err := client.Load(ctx, loadFeed(f.feed))
		if err != nil {
			return nil, nil, 0, err
		}
		if err := f.compare(truth); err != nil {
			return nil, nil, 0, fmt.Errorf("client %d ended wrong: %s: %w", n, loadFeed(f.feed), err)
		}
	}
	return followers, writes, pulls, nil
}

// writeSteadily makes the writes at the moments they are due, whether or not earlier ones were answered: otherwise a slow
// answer would hide itself by slowing down the writes.
func writeSteadily(ctx context.Context, api string) ([]acknowledged, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client := keyClient(platformKey, loadRate)
	defer client.CloseIdleConnections()
	total := loadRate * int(loadFor/time.Second)
	writes := make([]acknowledged, total)
	var writing sync.WaitGroup
	began := time.Now()
	for n := range total {
		if err := pause(ctx, time.Until(began.Add(time.Duration(n)*time.Second/loadRate))); err != nil {
			break
		}
		writing.Go(func() {
			w := acknowledged{feed: n % loadFeeds, sent: time.Now()}
			head, err := write(ctx, client, api, loadFeed(w.feed), "k"+strconv.Itoa(n/loadFeeds%loadKeys), n)
			w.at = time.Now()
			w.seq = seqOf(head)
			writes[n] = w
			if err != nil {
				cancel(err) // the first is the one to tell
			}
		})
	}
	writing.Wait()
	return writes, context.Cause(ctx)
}

func (f *follower) run(ctx context.Context, client *doorbell.Client) {
	options := doorbell.FollowOptions{OnStatus: func(s doorbell.Status) { f.live = s.Mode == doorbell.Live }}
	for e, err := range client.Follow(ctx, loadFeed(f.feed), options) {
		f.mu.Lock()
		if err != nil {
			f.err = err
		} else {
			f.state.Apply(e)
			if e.Kind == doorbell.Changed {
				f.applied = append(f.applied, applied{int(e.Change.Seq), time.Now()})
			}
		}
		f.mu.Unlock()
		if e.Kind == doorbell.CaughtUp && f.live || err != nil {
			f.ready.Do(func() { close(f.begun) })
		}
	}
}

func (f *follower) wait(ctx context.Context) error {
	select {
	case <-f.begun:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * patience):
		return errors.New("it isn't live")
	}
}

// reach waits until the client has that seq.
func (f *follower) reach(ctx context.Context, seq int) error {
	for deadline := time.Now().Add(patience); ; {
		f.mu.Lock()
		n, err := len(f.applied), f.err
		done := n > 0 && f.applied[n-1].seq >= seq
		f.mu.Unlock()
		switch {
		case err != nil || done:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("%s after the last write it still lacks seq %d", patience, seq)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// since is when the client first had that seq or a later one.
func (f *follower) since(seq int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.applied {
		if a.seq >= seq {
			return a.at
		}
	}
	return time.Now() // reach has seen to it that there is one
}

func (f *follower) compare(truth *doorbell.State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.Cursor != truth.Cursor || len(f.state.Items) != len(truth.Items) {
		return fmt.Errorf("it is at %s with %d items, the server at %s with %d",
			f.state.Cursor, len(f.state.Items), truth.Cursor, len(truth.Items))
	}
	for key, want := range truth.Items {
		if got := f.state.Items[key]; got.Seq != want.Seq || !bytes.Equal(got.Value, want.Value) {
			return fmt.Errorf("%s is %s (%d), on the server %s (%d)", key, got.Value, got.Seq, want.Value, want.Seq)
		}
	}
	return nil
}

// seqOf is the number in a cursor; 0 for none.
func seqOf(cursor string) int {
	_, text, _ := strings.Cut(cursor, "-")
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
