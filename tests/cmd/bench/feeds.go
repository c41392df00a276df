//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	feedsConns   = 1000
	feedsPerConn = 100
	feedsProbes  = 200 // connections of which a feed is written when Redis is back
	// subscribeTarget is for all `subscribed`, rebuildTarget from the loss of Redis until the gateway is whole again.
	subscribeTarget = 30 * time.Second
	rebuildTarget   = 10 * time.Second
	// feedsGrace is how long to look for a `degraded` once the signals flow again.
	feedsGrace = 6 * time.Second
	// feedsPatience is how long either may take before measuring makes no sense.
	feedsPatience = 90 * time.Second
)

// feedsSQL makes the feeds, each with one item, as a hundred thousand writes would, in a second.
var feedsSQL = fmt.Sprintf(`WITH made AS (
	INSERT INTO feeds (name, namespace, epoch, head, floor, trimmed, items, changed_at)
	SELECT 'bench:f' || n, 'bench', (extract(epoch FROM now()) - 1577836800)::bigint * 10, 1, 0, 0, 1,
		extract(epoch FROM now())::bigint * 1000
	FROM generate_series(0, %d) n RETURNING id, changed_at
) INSERT INTO items (feed_id, key, seq, deleted, value, changed_at) SELECT id, 'price', 1, false, '{"n":0}', changed_at FROM made`,
	feedsConns*feedsPerConn-1)

func manyFeed(conn, n int) string { return "bench:f" + strconv.Itoa(conn*feedsPerConn+n) }

// crowd is all the connections, and what they were told.
type crowd struct {
	conns []*websocket.Conn

	subscribed, unknown, degraded, whole atomic.Int64
	wholeAt                              atomic.Int64 // Unix nanoseconds
	rang                                 sync.Map     // feed → time.Time of the first signal of seq 2
	ended                                chan error
}

// feedsFigures are what one run gives.
type feedsFigures struct {
	connecting, subscribing                 time.Duration
	redisBack, whole, probes                time.Duration // since Redis was stopped; 0: wasn't seen
	unknown, told                           int64
	memoryIdle, memorySubscribed, memoryEnd string
}

// benchFeeds measures how long one gateway takes to subscribe very many feeds, and to do so again when Redis was lost.
func benchFeeds(ctx context.Context, out io.Writer, o options) error {
	return withPlatform(o.bin, feedsSQL, func(p *platform) error {
		b, err := p.baselines()
		if err != nil {
			return err
		}
		f, err := followMany(ctx, p)
		if err != nil {
			return err
		}
		heading(out, "feeds", fmt.Sprintf("Postgres and Redis; one gateway, %d connections, %d feeds each: %d feeds that exist",
			feedsConns, feedsPerConn, feedsConns*feedsPerConn))
		line := func(name string, took time.Duration) {
			text := "not seen"
			if took > 0 {
				text = ms(took)
			}
			fmt.Fprintf(out, "  %-62s %10s\n", name, text)
		}
		fmt.Fprintf(out, "  %-62s %10s\n", "", "ms")
		line("all connections opened", f.connecting)
		line("first subscribe sent → last `subscribed`", f.subscribing)
		line("Redis stopped → an empty one answers", f.redisBack)
		line(fmt.Sprintf("Redis stopped → the last `degraded:false` (%d connections heard)", f.told), f.whole)
		line(fmt.Sprintf("Redis stopped → signals of writes since, at %d connections", feedsProbes), f.probes)
		fmt.Fprintf(out, "\n  the gateway's resident memory: %s at first, %s with all subscribed, %s whole again\n",
			f.memoryIdle, f.memorySubscribed, f.memoryEnd)
		fmt.Fprintf(out, "  heads not known at `subscribed` (they come as signals): %d of %d\n\n", f.unknown, feedsConns*feedsPerConn)
		columns(out)
		b.rows(out)
		fmt.Fprintln(out)
		verdict(out, "last `subscribed`", subscribeTarget, f.subscribing)
		verdict(out, fmt.Sprintf("Redis stopped → whole again (%d sampled feeds signal, no `degraded` left)", feedsProbes),
			rebuildTarget, max(f.whole, f.probes))
		fmt.Fprintln(out, `To repeat it: make bench ARGS="-only feeds". The connections are of this machine and share its processors.`)
		return nil
	})
}

func followMany(ctx context.Context, p *platform) (f feedsFigures, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer cancel()
	f.memoryIdle = p.gateway.resident()
	c := &crowd{ended: make(chan error, feedsConns)}
	began := time.Now()
	for range feedsConns {
		conn, _, err := websocket.Dial(ctx, p.gateway.url()+"/v1/signals", nil) //nolint:bodyclose // the library has done that
		if err != nil {
			return f, fmt.Errorf("open connection %d: %w", len(c.conns)+1, err)
		}
		defer conn.CloseNow() //nolint:errcheck // it is of no use any more
		conn.SetReadLimit(1 << 20)
		c.conns = append(c.conns, conn)
		hearing.Go(func() { c.ended <- c.hear(ctx, conn) })
	}
	f.connecting = time.Since(began)

	began = time.Now()
	for n, conn := range c.conns {
		if err := conn.Write(ctx, websocket.MessageText, subscribeMany(n)); err != nil {
			return f, fmt.Errorf("subscribe: %w", err)
		}
	}
	if f.subscribing, err = c.until(ctx, began, "subscribed", func() bool {
		return c.subscribed.Load() >= feedsConns*feedsPerConn
	}); err != nil {
		return f, err
	}
	f.memorySubscribed, f.unknown = p.gateway.resident(), c.unknown.Load()

	began = time.Now()
	p.redis.Restart()
	f.redisBack = time.Since(began)
	if err := probe(ctx, p.api.url()); err != nil {
		return f, fmt.Errorf("write while Redis is back: %w", err)
	}
	if _, err = c.until(ctx, began, "signals of the probes", func() bool { _, all := c.rung(); return all }); err != nil {
		return f, err
	}
	last, _ := c.rung()
	f.probes = last.Sub(began)
	// `degraded` is told late or, when Redis is soon back, not at all: time for it to come, and then for it to go.
	if err := pause(ctx, feedsGrace); err != nil {
		return f, err
	}
	if c.degraded.Load() > 0 {
		if _, err = c.until(ctx, began, "degraded:false", func() bool { return c.whole.Load() >= c.degraded.Load() }); err != nil {
			return f, err
		}
		f.whole = time.Unix(0, c.wholeAt.Load()).Sub(began)
	}
	f.told = c.degraded.Load()
	f.memoryEnd = p.gateway.resident()
	return f, nil
}

func subscribeMany(conn int) []byte {
	feeds := make(map[string]string, feedsPerConn)
	for n := range feedsPerConn {
		feeds[manyFeed(conn, n)] = ""
	}
	command, _ := json.Marshal(map[string]map[string]string{"subscribe": feeds}) //nolint:errchkjson // strings always marshal
	return command
}

func (c *crowd) hear(ctx context.Context, conn *websocket.Conn) error {
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		var f struct {
			Subscribed map[string]*string `json:"subscribed"`
			Changed    map[string]*string `json:"changed"`
			Denied     map[string]string  `json:"denied"`
			Degraded   *bool              `json:"degraded"`
			Error      json.RawMessage    `json:"error"`
		}
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("the frame %s: %w", data, err)
		}
		if len(f.Denied) > 0 || f.Error != nil {
			return fmt.Errorf("refused: %s", data)
		}
		for _, head := range f.Subscribed {
			if head == nil {
				c.unknown.Add(1)
			}
		}
		c.subscribed.Add(int64(len(f.Subscribed)))
		for feed, head := range f.Changed {
			if head != nil && strings.HasSuffix(*head, "-2") { // the probe's: seq 1 is what each feed began with
				c.rang.LoadOrStore(feed, now)
			}
		}
		switch {
		case f.Degraded == nil:
		case *f.Degraded:
			c.degraded.Add(1)
		default:
			c.wholeAt.Store(now.UnixNano())
			c.whole.Add(1)
		}
	}
}

// until waits for a condition, looking often, and gives how long it took.
func (c *crowd) until(ctx context.Context, began time.Time, what string, done func() bool) (time.Duration, error) {
	limit := time.NewTimer(feedsPatience)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if done() {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case err := <-c.ended:
			return 0, fmt.Errorf("a connection ended: %w", err)
		case <-limit.C:
			return 0, fmt.Errorf("%s: not within %s (%d feeds subscribed; degraded came %d times, went %d times)",
				what, feedsPatience, c.subscribed.Load(), c.degraded.Load(), c.whole.Load())
		case <-tick.C:
		}
	}
}

// probed are the feeds that are written when Redis is back, each of another connection.
func probed() []string {
	var feeds []string
	for n := range feedsProbes {
		feeds = append(feeds, manyFeed(n*(feedsConns/feedsProbes), n%feedsPerConn))
	}
	return feeds
}

// probe writes once to each of the feeds, several at a time so that the writes are not what is measured.
func probe(ctx context.Context, api string) error {
	client := keyClient(platformKey, feedsProbes)
	defer client.CloseIdleConnections()
	errs := make([]error, feedsProbes)
	var writing sync.WaitGroup
	free := make(chan struct{}, 8)
	for n, feed := range probed() {
		free <- struct{}{}
		writing.Go(func() {
			defer func() { <-free }()
			_, errs[n] = write(ctx, client, api, feed, "price", 1)
		})
	}
	writing.Wait()
	return errors.Join(errs...)
}

// rung tells whether all probes have been signalled, and when the last was.
func (c *crowd) rung() (last time.Time, all bool) {
	for _, feed := range probed() {
		at, ok := c.rang.Load(feed)
		if !ok {
			return last, false
		}
		if at := at.(time.Time); at.After(last) { //nolint:forcetypeassert // nothing else is stored
			last = at
		}
	}
	return last, true
}
