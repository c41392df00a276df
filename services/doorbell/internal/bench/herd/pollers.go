//go:build linux

package herd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const (
	// each kind of client is there so often.
	each = 20
	// between is the mean time between changes, which come at random moments.
	between = 4 * time.Second
	// fixedEvery is the interval of the client with a fixed one.
	fixedEvery = 5 * time.Second
)

// poller is one client that follows the feed by itself. It is of its own goroutine, but for what mu guards.
type poller struct {
	http  *http.Client
	api   string
	bytes atomic.Int64 // to and fro, with headers and all

	mu    sync.Mutex
	state *state // guarded by mu, as is all that follows
	at    wire.Cursor
	steps []applied

	cursor, path, etag string // of the goroutine
}

// kind is a way to follow.
type kind struct {
	name   string
	follow func(*poller, context.Context) error
}

func kinds(gateway string) []kind {
	return []kind{
		{"fixed, every 5 s", (*poller).fixedly},
		{"adaptive, 1 to 60 s", (*poller).adaptively},
		{"long poll", (*poller).longly},
		{"WebSocket", func(p *poller, ctx context.Context) error { return p.signalled(ctx, gateway) }},
	}
}

// pollers measures clients that only poll, beside one that is told.
func (b *bench) pollers(ctx context.Context, s *report.Section, t testkit.TB) error {
	d, err := stage.NewDoorbell(t, stage.Options{Gateways: 1})
	if err != nil {
		return err
	}
	w := d.Writer(2)
	if err := fill(ctx, w, 20); err != nil {
		return d.Explain(err)
	}
	following, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	clients := map[string][]*poller{}
	failed := make(chan error, 4*each)
	for _, k := range kinds(d.Gateways[0].URL()) {
		for n := range each {
			p := newPoller(d.APIs[0].URL(), n)
			defer p.http.CloseIdleConnections()
			clients[k.name] = append(clients[k.name], p)
			all.Go(func() {
				if err := k.follow(p, following); err != nil && following.Err() == nil {
					failed <- fmt.Errorf("%s: %w", k.name, err)
				}
			})
		}
	}
	if err := pause(ctx, 2*time.Second); err != nil { // the first load is no part of it
		return err
	}
	for _, ps := range clients {
		for _, p := range ps {
			p.bytes.Store(0)
		}
	}
	var writes []written
	for deadline := time.Now().Add(b.o.Rest); time.Now().Before(deadline); {
		if err := pause(ctx, time.Duration(rand.ExpFloat64()*float64(between))); err != nil {
			return err
		}
		value := fmt.Sprintf(`{"price":"%d","n":%d}`, rand.IntN(100_000_000), len(writes)+1)
		cursor, err := w.Put(ctx, feed, stage.Change{Key: key(rand.IntN(20)), Value: json.RawMessage(value)})
		if err != nil {
			return d.Explain(err)
		}
		writes = append(writes, written{cursor, epoll.Now()})
	}
	sent := map[string]int64{}
	for name, ps := range clients {
		for _, p := range ps {
			sent[name] += p.bytes.Load()
		}
	}
	truth, _, err := load(ctx, w)
	if err != nil {
		return d.Explain(err)
	}
	for _, k := range kinds("") {
		right, stale, err := outcome(ctx, clients[k.name], writes, truth, failed)
		if err != nil {
			return d.Explain(err)
		}
		for _, percent := range []float64{50, 99} {
			s.Set(k.name, fmt.Sprintf("commit → applied, p%.0f", percent), "s", float64(report.Percentile(stale, percent))/1e9)
		}
		s.Set(k.name, "bytes to and fro per client and minute", "", float64(sent[k.name])/each/b.o.Rest.Minutes())
		s.Set(k.name, "clients that are right", "", float64(right))
		if right < each {
			s.Failf("%s: %d of %d clients don't have what was written", k.name, each-right, each)
		}
	}
	s.Notef("%d changes, %s apart on average; %d clients of each kind, all at the API itself", len(writes), between, each)
	return nil
}

// outcome waits until all of ps have the last of writes, and is how many of them then have what is true, and how long after
// each write they had it, in ns.
func outcome(
	ctx context.Context, ps []*poller, writes []written, truth map[string]change, failed <-chan error,
) (right int, stale []int64, err error) {
	last := writes[len(writes)-1].cursor
	for _, p := range ps {
		if err := p.until(ctx, last, failed); err != nil {
			return 0, nil, err
		}
		p.mu.Lock()
		if p.at.Covers(last) && difference(p.state.items(), truth) == "" {
			right++
		}
		stale = append(stale, staleness(p.steps, writes)...)
		p.mu.Unlock()
	}
	return right, stale, nil
}

func newPoller(api string, n int) *poller {
	p := &poller{api: api, state: newState()}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 221, 0, byte(n+1))}}
	p.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &counted{conn, &p.bytes}, nil
		},
		DisableCompression: true,
	}}
	return p
}

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn

	bytes *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

// until waits until the client has a cursor, for somewhat longer than any of them ever waits.
func (p *poller) until(ctx context.Context, cursor wire.Cursor, failed <-chan error) error {
	for deadline := time.Now().Add(75 * time.Second); time.Now().Before(deadline); {
		p.mu.Lock()
		done := p.at.Covers(cursor)
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil // which is then wrong, and counted
}

// fixedly is the loop that everybody writes first.
func (p *poller) fixedly(ctx context.Context) error {
	for {
		if _, err := p.poll(ctx, ""); err != nil {
			return err
		}
		if err := pause(ctx, fixedEvery); err != nil {
			return err
		}
	}
}

// adaptively polls sooner after news, and later when there is none.
func (p *poller) adaptively(ctx context.Context) error {
	wait, empty := time.Second, 0
	for {
		news, err := p.poll(ctx, "")
		if err != nil {
			return err
		}
		if news {
			wait, empty = wait/2, 0
		} else if empty++; empty >= 3 {
			wait, empty = wait*3/2, 0
		}
		wait = min(max(wait, time.Second), time.Minute)
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// longly has the server wait.
func (p *poller) longly(ctx context.Context) error {
	for {
		if _, err := p.poll(ctx, "&wait=25"); err != nil {
			return err
		}
	}
}

// poll asks once, and goes on while there is more.
func (p *poller) poll(ctx context.Context, wait string) (news bool, err error) {
	for {
		more, changed, err := p.once(ctx, wait)
		news = news || changed
		if err != nil || !more {
			return news, err
		}
	}
}

func (p *poller) once(ctx context.Context, wait string) (more, news bool, err error) {
	path := "/v1/feeds/" + feed
	if p.cursor != "" {
		path += "/changes?since=" + p.cursor + wait
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.api+path, nil)
	if err != nil {
		return false, false, err
	}
	if path == p.path && p.etag != "" && wait == "" {
		req.Header.Set("If-None-Match", p.etag)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return false, false, err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return false, false, err
	}
	p.path, p.etag = path, res.Header.Get("ETag")
	switch res.StatusCode {
	case http.StatusNotModified:
		return false, false, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return false, false, pause(ctx, time.Second)
	case http.StatusOK:
	default:
		return false, false, fmt.Errorf("%s: %s: %.200s", path, res.Status, body)
	}
	a, err := parseAnswer(body, p.cursor == "")
	if err != nil {
		return false, false, err
	}
	news = a.Cursor != p.cursor
	p.cursor = a.Cursor
	p.step(a)
	return a.More, news, nil
}

func (p *poller) step(a *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = p.state.apply(a)
	if !a.More && a.at.Compare(p.at) > 0 {
		p.at = a.at
		p.steps = append(p.steps, applied{a.at.Seq, epoll.Now()})
	}
}

// signalled is the Go client's Follow.
func (p *poller) signalled(ctx context.Context, gateway string) error {
	c, err := doorbell.New(p.api, doorbell.WithGateway(gateway), doorbell.WithHTTPClient(p.http))
	if err != nil {
		return err
	}
	pending := &answer{}
	for event, err := range c.Follow(ctx, feed, doorbell.FollowOptions{}) {
		if err != nil {
			return err
		}
		switch event.Kind {
		case doorbell.Changed:
			pending.Delta = append(pending.Delta, change{
				Key: event.Change.Key, Seq: event.Change.Seq, Value: event.Change.Value, Deleted: event.Change.Deleted,
			})
		case doorbell.Reset:
			pending = &answer{snapshot: true}
		case doorbell.Trimmed:
		case doorbell.CaughtUp:
			pending.Cursor = event.Cursor
			pending.at, _ = wire.ParseCursor([]byte(event.Cursor))
			p.step(pending)
			pending = &answer{}
		}
	}
	return ctx.Err()
}
