//go:build unix

package cdn

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
	"github.com/doorbell-sync/doorbell/pkg/testkit"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

const key = "a-secret-of-the-tests"

// config has a namespace for each thing that caches have to tell apart.
const config = `
keys: [{name: tests, secret: ` + key + `, read: ['*'], write: ['*'], drop: ['*']}]
trusted_proxies: [127.0.0.1]
namespaces:
  open: {public: true}
  brief: {public: true, cache: {shared: 1s, stale_while_revalidate: 0s, stale_if_error: 1m}}
  inbox: {public: false}
`

// origin is a Doorbell and, before it, what sees every request that a cache sends on, and may answer it itself.
type origin struct {
	addr     string
	direct   *doorbell.Client // past everything
	internal string           // where its metrics are

	mu sync.Mutex
	// Guarded by mu.
	seen   []string         // "GET /v1/…"
	answer http.HandlerFunc // in Doorbell's place, if not nil
	delay  time.Duration
}

// startOrigin starts `doorbell all` on a Postgres and a Redis of the test's own.
func startOrigin(t *testing.T) *origin {
	t.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	internal, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	database := "--database-url=" + testkit.Postgres(t).URL
	if r := (doorbelltest.Shell{}).Run(t, "migrate", "up", database); r.Code != 0 {
		t.Fatalf("migrate up: %d\n%s%s", r.Code, r.Out, r.Err)
	}
	run := doorbelltest.Shell{}.Start(t, "all", "--listen", addr, "--internal-listen", internal, "--config", doorbelltest.File(t, "doorbell.yaml", config),
		database, "--redis-url=redis://"+testkit.Redis(t).Addr+"/0")
	upstream := &url.URL{Scheme: "http", Host: addr}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	doorbelltest.Eventually(t, "doorbell all is ready", func() bool {
		if !run.Running() {
			t.Fatalf("doorbell all ended: %s", run.Err)
		}
		res, err := (&http.Client{Transport: transport}).Get(upstream.String() + "/readyz")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})

	o := &origin{internal: internal}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		},
		Transport: transport, FlushInterval: -1,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			return
		}
		o.mu.Lock()
		o.seen = append(o.seen, r.Method+" "+r.RequestURI)
		answer, delay := o.answer, o.delay
		o.mu.Unlock()
		time.Sleep(delay) // what is slow here is the origin
		if answer != nil {
			answer(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	o.addr = server.Listener.Addr().String()
	o.direct, err = doorbell.New(upstream.String(), doorbell.WithKey(key), doorbell.WithHTTPClient(doorbelltest.HTTP(t)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// count is how many requests of this URL have come so far.
func (o *origin) count(uri string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, s := range o.seen {
		if strings.HasSuffix(s, " "+uri) {
			n++
		}
	}
	return n
}

// metric is one of its metrics that has no labels; -1: it can't be told.
func (o *origin) metric(name string) float64 {
	res, err := http.Get("http://" + o.internal + "/metrics")
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			if value, err := strconv.ParseFloat(text, 64); err == nil {
				return value
			}
		}
	}
	return -1
}

// during answers with h in Doorbell's place until the test ends, or the returned func is called.
func (o *origin) during(t *testing.T, h http.HandlerFunc) (end func()) {
	t.Helper()
	set := func(h http.HandlerFunc) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.answer = h
	}
	set(h)
	end = sync.OnceFunc(func() { set(nil) })
	t.Cleanup(end)
	return end
}

func (o *origin) slow(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.delay = d
}

// put writes one item past the cache and gives the cursor.
func (o *origin) put(t *testing.T, feed, item, value string) string {
	t.Helper()
	w, err := o.direct.Put(t.Context(), feed, item, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return w.Cursor
}
