package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// slow limits are such that a test's requests are its burst.
func limited(o *api.Options) {
	one := func(burst int) api.Limit { return api.Limit{PerSecond: 0.01, Burst: burst} }
	o.Limits = api.Limits{Reads: one(5), Heads: one(2), Writes: one(3)}
	o.TrustedProxies = []string{"198.51.100.1"}
}

// from sends a request from an address, with headers, and gives the answer.
func (h *harness) from(addr, method, target, body string, headers ...header) answer {
	h.Helper()
	req := h.request(method, target, body, headers...)
	req.RemoteAddr = addr
	return h.send(req)
}

// allowed is how many of n requests are let through.
func (h *harness) allowed(n int, addr, method, target, body string, headers ...header) (ok int) {
	h.Helper()
	for range n {
		if h.from(addr, method, target, body, headers...).StatusCode != http.StatusTooManyRequests {
			ok++
		}
	}
	return ok
}

const here, there = "203.0.113.1:1000", "203.0.113.2:1000"

func TestLimits(t *testing.T) {
	h := newHarness(t, limited)
	h.put("pub:a", "k", "1")
	const uri = "/v1/feeds/pub:a"
	if n := h.allowed(9, here, "GET", uri, ""); n != 5 {
		t.Fatalf("%d of 9 reads were let through; want 5", n)
	}
	refused := h.from(here, "GET", uri, "")
	m := h.wantProblem(refused, http.StatusTooManyRequests, "too_many_requests")
	if detail, _ := m["detail"].(string); !strings.Contains(detail, "0.01 a second, 5 at once") {
		t.Errorf("the detail is %q", detail)
	}
	for name, want := range map[string]string{
		"Retry-After": "100", "RateLimit": `"reads";r=0;t=100`, "RateLimit-Policy": `"reads";q=5;w=500`, "Access-Control-Allow-Origin": "*",
	} {
		h.wantHeader(refused, name, want)
	}
	if expose := refused.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(expose, "RateLimit") {
		t.Errorf("a page sees only %q", expose)
	}
	for _, target := range []string{uri + "/changes", uri + "/items/k", uri + "?limit=1"} { // one budget
		h.wantProblem(h.from(here, "GET", target, ""), http.StatusTooManyRequests, "too_many_requests")
	}
	h.wantStatus(h.from(here, "HEAD", uri, ""), http.StatusTooManyRequests)
	h.wantStatus(h.from("203.0.113.1:2000", "GET", uri, ""), http.StatusTooManyRequests) // another port is nobody else
	h.wantStatus(h.from(here, "OPTIONS", uri, "", header{"Origin": appOrigin, "Access-Control-Request-Method": "GET"}), http.StatusNoContent)
	if a := h.from(there, "GET", uri, ""); a.StatusCode != http.StatusOK || a.Header.Get("Ratelimit") != "" {
		t.Errorf("another client: %d, RateLimit %q; want nothing that a cache would give to others", a.StatusCode, a.Header.Get("Ratelimit"))
	}
	// Other classes have budgets of their own.
	if n := h.allowed(5, here, "GET", "/v1/heads?feed=pub:a", ""); n != 2 {
		t.Errorf("%d of 5 heads were let through; want 2", n)
	}
	if n := h.allowed(5, there, "POST", "/v1/feeds/pub:a/touch", "", bearer(writerToken)); n != 2 { // and the put above
		t.Errorf("%d of 5 writes were let through; want 2", n)
	}
}

// TestLimitsGoByClient: a token's subject, wherever it comes from; else an address, as far as trusted proxies tell.
func TestLimitsGoByClient(t *testing.T) {
	const uri = "/v1/feeds/pub:a"
	xff := func(addr string) header { return header{"X-Forwarded-For": addr} }
	for _, tc := range []struct {
		what          string
		first, second string
		one, two      header
		same          bool
	}{
		{"two addresses", here, there, nil, nil, false},
		{"one subject at two addresses", here, there, bearer(readerToken), bearer(readerToken), true},
		{"two subjects at one address", here, here, bearer(readerToken), bearer(writerToken), false},
		{"a token that isn't valid is none", here, here, bearer("some-token-or-other"), bearer("some-other-token-here"), true},
		{"a header that anybody can send", here, here, xff("192.0.2.7"), xff("192.0.2.8"), true},
		{"clients of a trusted proxy", "198.51.100.1:1", "198.51.100.1:1", xff("192.0.2.7"), xff("192.0.2.8"), false},
		{"one client that makes up others", "198.51.100.1:1", "198.51.100.1:1", xff("192.0.2.1, 192.0.2.7"), xff("192.0.2.2, 192.0.2.7"), true},
		{"one network of IPv6", "[2001:db8::1]:1", "[2001:db8::2:2]:1", nil, nil, true},
		{"two networks of IPv6", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", nil, nil, false},
		{"IPv4 in IPv6", here, "[::ffff:203.0.113.1]:1", nil, nil, true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			h := newHarness(t, limited)
			h.put("pub:a", "k", "1")
			if n := h.allowed(6, tc.first, "GET", uri, "", tc.one); n != 5 {
				t.Fatalf("the first: %d; want 5", n)
			}
			if refused := h.allowed(1, tc.second, "GET", uri, "", tc.two) == 0; refused != tc.same {
				t.Errorf("the second is refused: %v; want %v", refused, tc.same)
			}
		})
	}
	h := newHarness(t, limited)
	h.put("pub:a", "k", "1")
	for _, local := range []string{"127.0.0.1:1", "[::1]:1", "@"} {
		if n := h.allowed(20, local, "GET", uri, ""); n != 20 {
			t.Errorf("%s, which is this machine: %d of 20", local, n)
		}
	}
	// Whoever a trusted proxy tells of in a way that isn't read is not this machine, whatever else is said.
	for _, said := range []header{
		{"X-Forwarded-For": "unknown", "X-Real-Ip": "127.0.0.1"}, {"X-Real-Ip": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
	} {
		h := newHarness(t, limited)
		h.put("pub:a", "k", "1")
		if n := h.allowed(20, "198.51.100.1:1", "GET", uri, "", said); n != 5 {
			t.Errorf("%v: %d of 20; want 5", said, n)
		}
	}
}

// TestUnchangedIsCheap: a client that asks with what it has may do so ten times as often.
func TestUnchangedIsCheap(t *testing.T) {
	h := newHarness(t, limited)
	h.put("pub:a", "k", "1")
	tag := h.from(there, "GET", "/v1/feeds/pub:a", "").Header.Get("ETag")
	n := 0
	for ; n < 100; n++ {
		a := h.from(here, "GET", "/v1/feeds/pub:a", "", header{"If-None-Match": tag})
		if a.StatusCode == http.StatusTooManyRequests {
			break
		}
		h.wantStatus(a, http.StatusNotModified)
	}
	if n < 40 || n > 50 {
		t.Errorf("%d answers of 304 for a budget of 5", n)
	}
}

// TestLimitsOfTwoNodes: what one has let through counts at the other.
func TestLimitsOfTwoNodes(t *testing.T) {
	url := "redis://" + testkit.Redis(t).Addr + "/0"
	share := func(o *api.Options) {
		limited(o)
		o.Limits.RedisURL = url
		o.Limits.Reads.Burst = 40
	}
	one, two := newHarness(t, share), newHarness(t, share)
	if n := one.allowed(50, here, "GET", "/v1/feeds/pub:a", ""); n != 40 {
		t.Fatalf("%d of 50; want 40", n)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if two.from(here, "GET", "/v1/feeds/pub:a", "").StatusCode == http.StatusTooManyRequests {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other node doesn't hear of it")
		}
	}
}

// TestLimitsAreCounted by budget and outcome, those that have none not at all.
func TestLimitsAreCounted(t *testing.T) {
	counted := func(registry *prometheus.Registry, what, want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "doorbell_api_limited_total", "doorbell_api_limits_shared"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	registry := prometheus.NewRegistry()
	h := newHarness(t, limited, func(o *api.Options) { o.Metrics = registry })
	h.put("pub:a", "k", "1")
	h.allowed(7, here, "GET", "/v1/feeds/pub:a", "")
	h.allowed(4, "127.0.0.1:1", "GET", "/v1/heads?feed=pub:a", "")
	h.allowed(9, here, "POST", "/v1/poll", `{"feeds":{"pub:a":""}}`)
	counted(registry, "alone", `
# HELP doorbell_api_limited_total Requests whose client has a limit, by the budget they were taken from, and whether there was enough of it.
# TYPE doorbell_api_limited_total counter
doorbell_api_limited_total{budget="heads",outcome="allowed"} 4
doorbell_api_limited_total{budget="heads",outcome="refused"} 0
doorbell_api_limited_total{budget="reads",outcome="allowed"} 5
doorbell_api_limited_total{budget="reads",outcome="refused"} 2
doorbell_api_limited_total{budget="writes",outcome="allowed"} 1
doorbell_api_limited_total{budget="writes",outcome="refused"} 0
`)
	unlimited := prometheus.NewRegistry()
	newHarness(t, func(o *api.Options) { o.Metrics = unlimited })
	counted(unlimited, "without limits", "")

	server := testkit.NewRedis(t)
	shared := prometheus.NewRegistry()
	h = newHarness(t, limited, func(o *api.Options) {
		o.Metrics, o.Limits.RedisURL = shared, "redis://"+server.Addr+"/0"
		o.Limits.Reads = api.Limit{PerSecond: 1000, Burst: 1}
	})
	is := func() float64 {
		families, err := shared.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "doorbell_api_limits_shared" {
				return family.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	if is() != 1 {
		t.Errorf("shared is %v before anything has failed", is())
	}
	for _, change := range []struct {
		what string
		to   float64
	}{{"Redis stops", 0}, {"Redis starts", 1}} {
		if change.to == 0 {
			server.Stop()
		} else {
			server.Start()
		}
		for deadline := time.Now().Add(20 * time.Second); is() != change.to; time.Sleep(10 * time.Millisecond) {
			h.from(here, "GET", "/v1/feeds/pub:a", "")
			if time.Now().After(deadline) {
				t.Fatalf("%s, and shared is %v; want %v", change.what, is(), change.to)
			}
		}
	}
}

func TestBadLimits(t *testing.T) {
	for _, bad := range []api.Limits{
		{Reads: api.Limit{PerSecond: 1}}, {Heads: api.Limit{PerSecond: -1, Burst: 1}},
		{Reads: api.Limit{PerSecond: 1, Burst: 1}, RedisURL: "http://x"},
	} {
		h := newHarness(t)
		if _, err := api.New(api.Options{Store: h.store, Bus: h.bus, Policies: testPolicies(), Limits: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
