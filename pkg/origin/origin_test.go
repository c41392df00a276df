package origin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAllow(t *testing.T) {
	list, err := ParseList([]string{"https://app.example.com", "https://*.example.org", "http://localhost:3000", "http://*.example.net:8000"})
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := ParseProxies([]string{"10.0.0.0/8", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		origin, host, peer, forwarded string
		want                          bool
	}{
		{"", "a.test", "1.2.3.4:5", "", true},
		{"https://a.test", "a.test", "1.2.3.4:5", "", true},
		{"http://a.test", "a.test", "1.2.3.4:5", "", true},
		{"https://A.test", "a.TEST:443", "1.2.3.4:5", "", true},
		{"http://a.test:8080", "a.test:8080", "1.2.3.4:5", "", true},
		{"http://[::1]:8080", "[0:0::1]:8080", "1.2.3.4:5", "", true},
		{"http://a.test:8080", "a.test", "1.2.3.4:5", "", false},
		{"https://b.test", "a.test", "1.2.3.4:5", "", false},
		{"https://app.example.com", "a.test", "1.2.3.4:5", "", true},
		{"https://app.example.com:443", "a.test", "1.2.3.4:5", "", true},
		{"http://app.example.com", "a.test", "1.2.3.4:5", "", false},
		{"https://x.y.example.org", "a.test", "1.2.3.4:5", "", true},
		{"https://example.org", "a.test", "1.2.3.4:5", "", false},
		{"https://.example.org", "a.test", "1.2.3.4:5", "", false},
		{"https://evilexample.org", "a.test", "1.2.3.4:5", "", false},
		{"https://x.example.org:8443", "a.test", "1.2.3.4:5", "", false},
		{"http://x.example.net:8000", "a.test", "1.2.3.4:5", "", true},
		{"http://localhost:3000", "a.test", "1.2.3.4:5", "", true},
		{"null", "null", "1.2.3.4:5", "", false},
		{"file://", "", "1.2.3.4:5", "", false},
		{"https://a.test/", "a.test", "1.2.3.4:5", "", false},
		{"https://me@a.test", "a.test", "1.2.3.4:5", "", false},
		{"https://a.test:", "a.test", "1.2.3.4:5", "", false},
		{"https://public.test", "inner:80", "10.1.2.3:5", "public.test", true},
		{"https://public.test", "inner:80", "[::1]:5", "evil.test, public.test", true},
		{"https://evil.test", "inner:80", "10.1.2.3:5", "evil.test, public.test", false},
		{"https://public.test", "inner:80", "1.2.3.4:5", "public.test", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.RemoteAddr = c.host, c.peer
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-Host", c.forwarded)
		}
		if text, got := list.Allow(r, proxies); got != c.want || text != c.origin {
			t.Errorf("%+v: %v, %q", c, got, text)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "a.test"
	r.Header["Origin"] = []string{"https://a.test", "https://b.test"}
	if _, ok := list.Allow(r, nil); ok {
		t.Error("two origins are allowed")
	}
	r.Header["Origin"] = []string{""}
	if _, ok := list.Allow(r, nil); ok {
		t.Error("an empty origin is allowed")
	}
}

func TestBadListsAreReportedWhole(t *testing.T) {
	_, err := ParseList([]string{"app.example.com", "https://a*.example.com", "https://*", "https://fine.example.com", "://x"})
	if err == nil {
		t.Fatal("taken")
	}
	for _, bad := range []string{`"app.example.com"`, `"https://a*.example.com"`, `"https://*"`, `"://x"`} {
		if !strings.Contains(err.Error(), bad) {
			t.Errorf("nothing is said about %s:\n%v", bad, err)
		}
	}
	if strings.Contains(err.Error(), "fine.example.com") {
		t.Errorf("a good one is complained of:\n%v", err)
	}
	if _, err := ParseProxies([]string{"10.0.0.0/33", "proxy", "10.0.0.1"}); err == nil ||
		!strings.Contains(err.Error(), "10.0.0.0/33") || !strings.Contains(err.Error(), `"proxy"`) {
		t.Errorf("proxies: %v", err)
	}
	var none *List
	if none.Has(Origin{}) {
		t.Error("an empty list has an origin")
	}
}

func TestReadable(t *testing.T) {
	proxies, err := ParseProxies([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer, header, value string
		want                bool
	}{
		{"1.2.3.4:5", "", "", true},
		{"127.0.0.1:5", "X-Forwarded-For", "8.8.8.8", true},
		{"127.0.0.1:5", "X-Forwarded-For", "::1, 8.8.8.8", true},
		{"1.2.3.4:5", "X-Forwarded-For", "8.8.8.8", false},
		{"127.0.0.1:5", "X-Forwarded-For", "8.8.8.8:4711", false},
		{"127.0.0.1:5", "X-Forwarded-For", "127.0.0.1, unknown", false},
		{"127.0.0.1:5", "X-Forwarded-For", "", false},
		{"127.0.0.1:5", "Forwarded", "for=8.8.8.8", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		if got := proxies.Readable(r); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
