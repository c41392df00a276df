package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

const polledFeed = "polled:by-hand"

// byHand is a client as people write it who have nothing but HTTP. Its loop alone uses it, but for what mu guards.
type byHand struct {
	http *http.Client
	base string

	cursor, next, path, etag string // next: where a reset said to go on

	mu     sync.Mutex
	items  map[string]string // guarded by mu
	resets int               // guarded by mu
}

// page is a snapshot, a delta or a problem.
type page struct {
	Cursor   string         `json:"cursor"`
	More     bool           `json:"more"`
	Snapshot string         `json:"snapshot"`
	Changes  []polledChange `json:"changes"`
	Items    []polledChange `json:"items"`
}

type polledChange struct {
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
	Deleted bool            `json:"deleted"`
}

// ask makes one request, and more while there is more. news: something came of it.
func (p *byHand) ask(ctx context.Context, wait string) (news bool, err error) {
	for more := true; more; {
		path := p.next
		switch {
		case path != "":
		case p.cursor == "":
			path = "/v1/feeds/" + polledFeed
		default:
			path = "/v1/feeds/" + polledFeed + "/changes?since=" + p.cursor + wait
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
		if err != nil {
			return news, err
		}
		if path == p.path && p.etag != "" {
			req.Header.Set("If-None-Match", p.etag)
		}
		res, err := p.http.Do(req)
		if err != nil {
			return news, err
		}
		var got page
		if res.StatusCode != http.StatusNotModified {
			err = json.NewDecoder(res.Body).Decode(&got)
		}
		_ = res.Body.Close()
		if err != nil {
			return news, err
		}
		switch res.StatusCode {
		case http.StatusOK:
			p.path, p.etag, p.next = path, res.Header.Get("ETag"), ""
			news = news || got.Cursor != p.cursor
			p.take(got)
			more = got.More
		case http.StatusNotModified:
			more = false
		case http.StatusGone:
			p.mu.Lock()
			p.resets++
			p.mu.Unlock()
			p.cursor, p.next = "", got.Snapshot
		default:
			return news, fmt.Errorf("%s: %s", path, res.Status)
		}
	}
	return news, nil
}

func (p *byHand) take(got page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if got.Items != nil {
		p.items = map[string]string{}
	}
	for _, change := range append(got.Items, got.Changes...) {
		if change.Deleted {
			delete(p.items, change.Key)
		} else {
			p.items[change.Key] = string(change.Value)
		}
	}
	p.cursor = got.Cursor
}

// fixedly asks every so often.
func (p *byHand) fixedly(ctx context.Context) {
	for ctx.Err() == nil {
		_, _ = p.ask(ctx, "") // and the next time again
		rest(ctx, 100*time.Millisecond)
	}
}

// adaptively is ×0.5 on news, ×1.5 after three empty answers, ×2 on an error; from 1 s to 60 s, of which this is a fiftieth.
func (p *byHand) adaptively(ctx context.Context) {
	const least, most = time.Second / 50, time.Minute / 50
	interval, empty := least, 0
	for ctx.Err() == nil {
		news, err := p.ask(ctx, "")
		switch {
		case err != nil:
			interval *= 2
		case news:
			interval, empty = interval/2, 0
		default:
			if empty++; empty == 3 {
				interval, empty = interval*3/2, 0
			}
		}
		interval = min(max(interval, least), most)
		rest(ctx, interval)
	}
}

// longly waits at the server.
func (p *byHand) longly(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := p.ask(ctx, "&wait=5"); err != nil {
			rest(ctx, 100*time.Millisecond)
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestPollersByHand: who only polls, in three ways, has what there is in the end, whatever has happened meanwhile: changes,
// deletions, a restart, and a feed that was dropped and begins anew.
func TestPollersByHand(t *testing.T) {
	server := doorbelltest.Dev(t)
	client := server.Client()
	truth := map[string]string{}
	put := func(n int) {
		t.Helper()
		key := fmt.Sprint("k", rand.IntN(12))
		change := doorbell.Change{Key: key, Value: json.RawMessage(fmt.Sprint(n))}
		if _, there := truth[key]; there && n%3 == 0 {
			change = doorbell.Change{Key: key, Deleted: true}
			delete(truth, key)
		} else {
			truth[key] = fmt.Sprint(n)
		}
		if _, err := client.Write(t.Context(), polledFeed, []doorbell.Change{change}); err != nil {
			t.Fatal(err)
		}
	}
	put(1)

	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	pollers := map[string]*byHand{}
	for name, loop := range map[string]func(*byHand, context.Context){
		"fixed": (*byHand).fixedly, "adaptive": (*byHand).adaptively, "long": (*byHand).longly,
	} {
		p := &byHand{http: doorbelltest.HTTP(t), base: server.URL(), items: map[string]string{}}
		pollers[name] = p
		all.Go(func() { loop(p, ctx) })
	}
	settled := func(resets bool) {
		t.Helper()
		for name, p := range pollers {
			doorbelltest.Eventually(t, name+" has what there is", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return maps.Equal(p.items, truth) && (!resets || p.resets > 0)
			})
		}
	}
	many := func(from int) {
		for n := range 40 {
			put(from + n)
			rest(t.Context(), time.Duration(rand.IntN(40))*time.Millisecond)
		}
	}
	many(2)
	settled(false)
	server.Kill()
	server.Restart()
	many(100)
	settled(false)
	if _, err := client.Drop(t.Context(), polledFeed, server.Head(polledFeed)); err != nil {
		t.Fatal(err)
	}
	clear(truth)
	many(200)
	settled(true)
}
