package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// world is two instances of the API on one store and one bus, of which much goes wrong.
type world struct {
	*testing.T
	store store.Store
	bus   bus.Bus
	// lose and find break the bus and mend it.
	lose, find func()
	apis       [2]*api.API
	feeds      []feed.Name
}

// testServedFromMemory: whatever is written, trimmed, purged, dropped, signalled late or not at all: at every quiet
// moment each client has what a fresh snapshot of the store says, and no answer on the way was one that it could not
// use.
func testServedFromMemory(t *testing.T, w *world, rounds int) {
	w.T = t
	w.feeds = []feed.Name{"pub:a", "pub:b", "capped:a"}
	for round := range rounds {
		cacheBytes := []int{64 << 20, 24 << 10, 4 << 10}[round%3] // the small ones forget all the time
		for i := range w.apis {
			a, err := api.New(api.Options{
				Store: w.store, Bus: w.bus, Policies: testPolicies(), OpenWrites: true, Logger: discard(),
				CacheBytes: cacheBytes, AtLeastWait: 300 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			w.apis[i] = a
		}
		w.round(uint64(round))
		for _, a := range w.apis {
			a.Close()
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

func (w *world) round(seed uint64) {
	var clients []*client
	for i := range 9 {
		clients = append(clients, &client{world: w, name: w.feeds[i%3], rng: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	for moment := range 4 {
		ctx, stop := context.WithTimeout(w.Context(), 400*time.Millisecond)
		var wg sync.WaitGroup
		for i := range 3 {
			rng := rand.New(rand.NewPCG(seed, uint64(1000*moment+100+i)))
			wg.Go(func() { w.write(ctx, rng) })
		}
		wg.Go(func() { w.trouble(ctx, rand.New(rand.NewPCG(seed, uint64(1000*moment+200)))) })
		for _, c := range clients {
			wg.Go(func() {
				for ctx.Err() == nil {
					c.pull(false)
				}
			})
		}
		wg.Wait()
		stop()
		w.quiet(clients)
		if w.Failed() {
			return
		}
	}
}

// write puts and deletes until ctx ends, by either instance or past both.
func (w *world) write(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		name := w.feeds[rng.IntN(len(w.feeds))]
		var edits []feed.Edit
		for range 1 + rng.IntN(3) {
			e := feed.Edit{Key: fmt.Sprint("k", rng.IntN(12)), Value: fmt.Appendf(nil, "%d", rng.IntN(1e6))}
			if rng.IntN(3) == 0 {
				e.Value, e.Deleted = nil, true
			}
			edits = append(edits, e)
		}
		i := rng.IntN(3)
		if i == 2 { // somebody else's instance, which may die before it signals
			most := 0
			if strings.HasPrefix(string(name), "capped") {
				most = 5
			}
			written, err := w.store.Append(context.WithoutCancel(ctx), name, store.Write{Edits: edits, MaxItems: most})
			if err == nil && rng.IntN(2) == 0 {
				_ = w.bus.Publish(context.WithoutCancel(ctx), name, written.Cursor)
			}
			continue
		}
		var changes []string
		for _, e := range edits {
			if e.Deleted {
				changes = append(changes, fmt.Sprintf(`{"key":%q,"deleted":true}`, e.Key))
			} else {
				changes = append(changes, fmt.Sprintf(`{"key":%q,"value":%s}`, e.Key, e.Value))
			}
		}
		status, header, body := w.do(i, http.MethodPost, "/v1/feeds/"+string(name)+"/changes", `{"changes":[`+strings.Join(changes, ",")+`]}`)
		_ = header
		if status != http.StatusOK {
			continue
		}
		var written struct{ Cursor string }
		_ = json.Unmarshal(body, &written)
		wrote, _ := feed.ParseOptionalCursor(written.Cursor)
		// Who has written reads it there.
		if status, header, body := w.do(i, http.MethodGet, "/v1/feeds/"+string(name), ""); status == http.StatusOK {
			if got, err := feed.ParseCursor(header.Get("Doorbell-Cursor")); err != nil || (!got.Walk() && !got.Covers(wrote)) {
				w.Errorf("wrote %s and read %s there: %s", wrote, got, body)
			}
		}
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	}
}

// trouble purges, drops, and loses the bus.
func (w *world) trouble(ctx context.Context, rng *rand.Rand) {
	lost := false
	for ctx.Err() == nil {
		switch rng.IntN(6) {
		case 0, 1:
			if _, err := w.store.Purge(context.WithoutCancel(ctx), feed.Scope{Except: true}, farFuture); err != nil {
				w.Error(err)
			}
		case 2:
			if rng.IntN(3) == 0 {
				w.drop(w.feeds[rng.IntN(len(w.feeds))])
			}
		case 3:
			if lost = !lost; lost {
				w.lose()
			} else {
				w.find()
			}
		}
		time.Sleep(time.Duration(5+rng.IntN(25)) * time.Millisecond)
	}
	if lost {
		w.find()
	}
}

func (w *world) drop(name feed.Name) {
	heads, err := w.store.Heads(context.Background(), []feed.Name{name})
	if err != nil || heads[0].IsZero() {
		return
	}
	i := rand.IntN(2)
	req := w.request(http.MethodDelete, "/v1/feeds/"+string(name), "")
	req.Header.Set("If-Match", `"`+heads[0].String()+`"`)
	w.apis[i].Handler().ServeHTTP(httptest.NewRecorder(), req)
}

// quiet brings everything to rest and compares.
func (w *world) quiet(clients []*client) {
	heads, err := w.store.Heads(context.Background(), w.feeds)
	if err != nil {
		w.Fatal(err)
	}
	for i, name := range w.feeds { // as the sweeper does
		for err := errors.New("not yet"); err != nil; { // it may take a moment to be found again
			if err = w.bus.Publish(w.Context(), name, heads[i]); err != nil && w.Context().Err() != nil {
				w.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	for i, c := range clients {
		head := heads[i%3]
		for deadline := time.Now().Add(20 * time.Second); c.cursor != head; {
			if time.Now().After(deadline) {
				w.Errorf("client %d of %s doesn't get beyond %s; the head is %s", i, c.name, c.cursor, head)
				return
			}
			c.pull(true)
		}
		truth := map[string]string{}
		d, err := w.store.Delta(context.Background(), c.name, store.Query{Limit: 10_000, MaxBytes: 1 << 24})
		if err != nil && !errors.Is(err, feed.ErrNoFeed) {
			w.Fatal(err)
		}
		for _, change := range d.Changes {
			truth[change.Key] = string(change.Value)
		}
		if !maps.Equal(truth, c.items) {
			w.Errorf("client %d of %s at %s has\n%v, the truth is\n%v\n%s", i, c.name, c.cursor, c.items, truth, strings.Join(c.log, "\n"))
		}
	}
}

func (w *world) request(method, target, body string) *http.Request {
	req := httptest.NewRequest(method, "http://localhost"+target, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.RemoteAddr = "127.0.0.1:1"
	return req
}

func (w *world) do(i int, method, target, body string) (int, http.Header, []byte) {
	rec := httptest.NewRecorder()
	w.apis[i].Handler().ServeHTTP(rec, w.request(method, target, body))
	return rec.Code, rec.Header(), rec.Body.Bytes()
}

// client follows one feed as the protocol says, by either instance.
type client struct {
	*world
	name   feed.Name
	rng    *rand.Rand
	cursor feed.Cursor
	items  map[string]string
	seqs   map[string]int64
	floor  feed.Cursor // newest head that it has heard of
	log    []string
}

// pull gets a page. When calm everything has been signalled.
func (c *client) pull(calm bool) {
	i := c.rng.IntN(2)
	target := "/v1/feeds/" + string(c.name)
	if !c.cursor.IsZero() && (c.cursor.Walk() || calm || c.rng.IntN(20) > 0) {
		target += "/changes?since=" + c.cursor.String()
	} else {
		target += "?"
	}
	floor := feed.Cursor{}
	if c.rng.IntN(3) == 0 && !c.floor.IsZero() {
		floor = c.floor
		target += "&at_least=" + floor.String()
	}
	if c.rng.IntN(2) == 0 {
		target += fmt.Sprintf("&limit=%d", 1+c.rng.IntN(6))
	}
	target = strings.TrimSuffix(strings.Replace(target, "?&", "?", 1), "?")
	status, _, body := c.do(i, http.MethodGet, target, "")
	c.log = append(c.log, fmt.Sprintf("%d %s %d %s", i, target, status, body))
	if len(c.log) > 12 {
		c.log = c.log[1:]
	}
	switch status {
	case http.StatusOK:
		c.take(target, floor, body)
	case http.StatusGone:
		var reset struct{ Cursor string }
		_ = json.Unmarshal(body, &reset)
		c.floor, _ = feed.ParseCursor(reset.Cursor)
		c.cursor, c.items, c.seqs = feed.Cursor{}, nil, nil
	case http.StatusNotFound, http.StatusServiceUnavailable:
	default:
		c.Errorf("%s: %d %s", target, status, body)
	}
}

func (c *client) take(target string, floor feed.Cursor, body []byte) {
	var p page
	if err := json.Unmarshal(body, &p); err != nil {
		c.Error(err)
		return
	}
	cursor, err := feed.ParseCursor(p.Cursor)
	if err != nil {
		c.Errorf("%s: %v", target, err)
		return
	}
	if !p.More && !cursor.Covers(floor) {
		c.Errorf("%s was answered with less: %s", target, p.Cursor)
	}
	if p.Since == nil {
		if cursor.Epoch == c.cursor.Epoch && !c.cursor.Walk() && cursor.Compare(c.cursor) < 0 && !p.More {
			return // an older snapshot is ignored
		}
		c.items, c.seqs = map[string]string{}, map[string]int64{}
	} else if *p.Since != c.cursor.String() || cursor.Epoch != c.cursor.Epoch || cursor.Seq < c.cursor.Seq {
		c.Errorf("%s, at %s, was answered from %s to %s", target, c.cursor, *p.Since, cursor)
		return
	}
	last := int64(-1)
	for _, change := range append(p.Items, p.Changes...) {
		if change.Seq <= last || (change.Deleted && p.Since == nil) {
			c.Errorf("%s: %s out of order: %s", target, change.Key, body)
		}
		last = change.Seq
		if change.Deleted {
			delete(c.items, change.Key)
			delete(c.seqs, change.Key)
			continue
		}
		c.items[change.Key], c.seqs[change.Key] = string(change.Value), change.Seq
	}
	for key, seq := range c.seqs {
		if seq <= p.Trimmed {
			delete(c.items, key)
			delete(c.seqs, key)
		}
	}
	c.cursor = cursor
	if head := (feed.Cursor{Epoch: cursor.Epoch, Seq: cursor.Seq}); head.Compare(c.floor) > 0 {
		c.floor = head
	}
}
