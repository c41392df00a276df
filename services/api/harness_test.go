package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	api "github.com/doorbell-sync/doorbell/services/api"
)

const (
	writerToken = "writer-secret-0123456789"
	readerToken = "reader-secret-0123456789"
	appOrigin   = "https://app.example.com"
)

// harness is an API on a real store and a real bus.
type harness struct {
	*testing.T
	api   *api.API
	store *probe
	bus   *busProbe
	log   *syncBuffer
}

type option func(*api.Options)

func newHarness(t *testing.T, options ...option) *harness {
	t.Helper()
	st, err := gormstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "doorbell.db"), gormstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{T: t, store: &probe{Store: st, calls: map[string]int{}}, log: &syncBuffer{}}
	h.bus = &busProbe{Bus: membus.New(membus.Options{})}
	keys, err := auth.NewKeys([]auth.Key{
		{Name: "writer", Secret: writerToken, Read: []string{"*"}, Write: []string{"*"}, Drop: []string{"*"}},
		{Name: "reader", Secret: readerToken, Read: []string{"inbox:7"}, Write: []string{"pub:mine"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	opts := api.Options{
		Store: h.store, Bus: h.bus, Policies: testPolicies(), Auth: keys,
		AllowedOrigins: []string{appOrigin},
		Logger:         slog.New(slog.NewTextHandler(h.log, nil)),
	}
	for _, o := range options {
		o(&opts)
	}
	if h.api, err = api.New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.api.Close()
		_ = h.bus.Close()
		_ = st.Close()
	})
	return h
}

func testPolicies() *policy.Set {
	public := policy.Default()
	public.Public = true
	tiny := public
	tiny.MaxValueBytes, tiny.MaxBatch, tiny.MaxBatchBytes = 64, 3, 512
	capped := public
	capped.MaxItems = 5
	odd := public
	odd.PollAfter = 7 * time.Second
	odd.Cache = policy.Cache{
		Pinned: 2 * time.Minute, Shared: 3 * time.Second, StaleWhileRevalidate: 4 * time.Second,
		StaleIfError: 5 * time.Second, Missing: 6 * time.Second,
	}
	return policy.NewSet(policy.Default(), map[string]policy.Namespace{"pub": public, "tiny": tiny, "capped": capped, "odd": odd})
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

type header = map[string]string

func (h *harness) do(method, target, body string, headers ...header) answer {
	h.Helper()
	return h.send(h.request(method, target, body, headers...))
}

func (h *harness) request(method, target, body string, headers ...header) *http.Request {
	h.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, r)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, hs := range headers {
		for name, value := range hs {
			if name == "Host" {
				req.Host = value
				continue
			}
			req.Header[http.CanonicalHeaderKey(name)] = nil
			if value != "" {
				req.Header.Set(name, value)
			} else {
				req.Header.Del(name)
			}
		}
	}
	return req
}

func (h *harness) send(req *http.Request) answer {
	h.Helper()
	rec := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(rec, req)
	a := answer{rec.Result(), rec.Body.String()}
	if err := conforms(req, a.Response, a.body); err != nil {
		h.Errorf("the answer isn't as openapi.yaml says: %v", err)
	}
	return a
}

func (h *harness) get(target string, headers ...header) answer {
	h.Helper()
	return h.do(http.MethodGet, target, "", headers...)
}

// write sends a request as the writer, with 200 expected, and gives the cursor.
func (h *harness) write(method, target, body string, headers ...header) string {
	h.Helper()
	a := h.do(method, target, body, append(headers, bearer(writerToken))...)
	if a.StatusCode != http.StatusOK {
		h.Fatalf("%s %s: %d %s", method, target, a.StatusCode, a.body)
	}
	return a.member(h, "cursor").(string)
}

func (h *harness) put(name, key, value string) string {
	h.Helper()
	return h.write(http.MethodPut, "/v1/feeds/"+name+"/items/"+key, value)
}

// head is the feed's head in the store.
func (h *harness) head(name string) feed.Cursor {
	h.Helper()
	heads, err := h.store.Store.Heads(context.Background(), []feed.Name{feed.Name(name)})
	if err != nil {
		h.Fatal(err)
	}
	return heads[0]
}

func bearer(token string) header { return header{"Authorization": "Bearer " + token} }

func (a answer) object(t interface {
	Helper()
	Fatalf(string, ...any)
}) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("not JSON: %v: %q", err, a.body)
	}
	return m
}

func (a answer) member(h *harness, name string) any {
	h.Helper()
	return a.object(h)[name]
}

// wantProblem checks all that problems have in common.
func (h *harness) wantProblem(a answer, status int, code string) map[string]any {
	h.Helper()
	if a.StatusCode != status || a.Header.Get("Content-Type") != "application/problem+json" {
		h.Fatalf("got %d %s %s; want %d %s", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, code)
	}
	m := a.object(h)
	if m["code"] != code || m["status"] != float64(status) || m["title"] == "" || m["type"] != "about:blank" {
		h.Fatalf("got %s; want %d %s", a.body, status, code)
	}
	if code != "no_feed" && (a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("CDN-Cache-Control") != "no-store") {
		h.Fatalf("%s may be stored: %v", code, a.Header)
	}
	if a.Header.Get("ETag") != "" {
		h.Fatalf("%s has an ETag", code)
	}
	return m
}

func (h *harness) wantStatus(a answer, status int) {
	h.Helper()
	if a.StatusCode != status {
		h.Fatalf("got %d %s; want %d", a.StatusCode, a.body, status)
	}
}

func (h *harness) wantHeader(a answer, name, want string) {
	h.Helper()
	if got := strings.Join(a.Header.Values(name), "|"); got != want {
		h.Errorf("%s is %q; want %q", name, got, want)
	}
}

// probe is a store that counts calls and can be made to fail.
type probe struct {
	store.Store
	mu    sync.Mutex
	calls map[string]int
	hook  func(ctx context.Context, op string) error
	after func(op string) // nil: nothing
}

func (p *probe) enter(ctx context.Context, op string) error {
	p.mu.Lock()
	p.calls[op]++
	hook := p.hook
	p.mu.Unlock()
	if hook != nil {
		return hook(ctx, op)
	}
	return nil
}

// before sets what happens before each call.
func (p *probe) before(hook func(ctx context.Context, op string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// count is the calls of an operation ("": of all) since the last reset.
func (p *probe) count(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if op != "" {
		return p.calls[op]
	}
	n := 0
	for _, c := range p.calls {
		n += c
	}
	return n
}

func (p *probe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.calls)
}

func (p *probe) Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error) {
	if err := p.enter(ctx, "delta"); err != nil {
		return feed.Delta{}, err
	}
	d, err := p.Store.Delta(ctx, name, q)
	p.mu.Lock()
	after := p.after
	p.mu.Unlock()
	if after != nil {
		after("delta")
	}
	return d, err
}

func (p *probe) Item(ctx context.Context, name feed.Name, key string) (feed.Item, error) {
	if err := p.enter(ctx, "item"); err != nil {
		return feed.Item{}, err
	}
	return p.Store.Item(ctx, name, key)
}

func (p *probe) Heads(ctx context.Context, names []feed.Name) ([]feed.Cursor, error) {
	if err := p.enter(ctx, "heads"); err != nil {
		return nil, err
	}
	return p.Store.Heads(ctx, names)
}

func (p *probe) Append(ctx context.Context, name feed.Name, w store.Write) (store.Written, error) {
	if err := p.enter(ctx, "append"); err != nil {
		return store.Written{}, err
	}
	return p.Store.Append(ctx, name, w)
}

func (p *probe) Drop(ctx context.Context, name feed.Name, c *feed.Cursor, o *store.Once) (feed.Cursor, error) {
	if err := p.enter(ctx, "drop"); err != nil {
		return feed.Cursor{}, err
	}
	return p.Store.Drop(ctx, name, c, o)
}

// busProbe is a bus that can be lost, or lose signals.
type busProbe struct {
	bus.Bus
	mu      sync.Mutex
	dead    bool
	publish func(ctx context.Context, name feed.Name, c feed.Cursor) error // nil: the bus's
}

func (b *busProbe) set(dead bool, publish func(context.Context, feed.Name, feed.Cursor) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead, b.publish = dead, publish
}

func (b *busProbe) Alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.dead && b.Bus.Alive()
}

func (b *busProbe) Publish(ctx context.Context, name feed.Name, c feed.Cursor) error {
	b.mu.Lock()
	publish := b.publish
	b.mu.Unlock()
	if publish != nil {
		return publish(ctx, name, c)
	}
	return b.Bus.Publish(ctx, name, c)
}

// losePublishes lets writes happen that the bus never hears of.
func (b *busProbe) losePublishes() {
	b.set(false, func(context.Context, feed.Name, feed.Cursor) error { return bus.ErrUnavailable })
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
