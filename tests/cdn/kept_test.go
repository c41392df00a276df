//go:build unix

package cdn

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// testNeverKept: what is asked for twice reaches the origin twice.
func testNeverKept(t *testing.T, s *suite) {
	head := s.put(t, "open:kept", "a", `1`)
	const changes = "/v1/feeds/open:kept/changes"
	for _, test := range []struct {
		what, uri string
		status    int
	}{
		{"a reset", changes + "?since=0000001-1", http.StatusGone},
		{"a reset of a pinned URL", changes + "?since=0000001-1&at_least=" + head, http.StatusGone},
		{"a bad cursor", changes + "?since=nonsense", http.StatusBadRequest},
		{"a bad limit", "/v1/feeds/open:kept?limit=0", http.StatusBadRequest},
		{"two of one parameter", changes + "?since=" + head + "&since=" + head, http.StatusBadRequest},
		{"a version that isn't there yet", "/v1/feeds/open:kept?at_least=" + head + "0", http.StatusServiceUnavailable},
		{"another order", changes + "?at_least=" + head + "&since=" + head, http.StatusOK},
		{"a default spelled out", "/v1/feeds/open:kept?limit=1000", http.StatusOK},
		{"a foreign parameter", "/v1/feeds/open:kept?utm=1", http.StatusOK},
		{"a long poll", changes + "?since=0&wait=1", http.StatusOK},
		{"an item", "/v1/feeds/open:kept/items/a", http.StatusOK},
		{"an item that isn't there", "/v1/feeds/open:kept/items/b", http.StatusNotFound},
		{"heads", "/v1/heads?feed=open:kept", http.StatusOK},
		{"a name that can't be", "/v1/feeds/OPEN", http.StatusBadRequest},
		{"no such path", "/v1/feeds/open:kept/nothing", http.StatusNotFound},
	} {
		for range 2 {
			g := s.get(t, test.uri)
			wantStatus(t, test.what, g, test.status)
			if cc := g.header.Get("CDN-Cache-Control"); cc != "no-store" && !strings.Contains(test.uri, "/items/a") {
				t.Errorf("%s leaves with CDN-Cache-Control %q", test.what, cc)
			}
		}
		s.wantCount(t, test.uri, 2)
	}
}

// testForeignErrors: an error page that allows to keep it for a minute must not be kept, even where it answers a pinned URL.
func testForeignErrors(t *testing.T, s *suite) {
	head := s.put(t, "open:foreign", "a", `1`)
	uri := "/v1/feeds/open:foreign?at_least=" + head
	for _, status := range []int{http.StatusInternalServerError, http.StatusGone, http.StatusForbidden} {
		end := s.during(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Set("CDN-Cache-Control", "public, max-age=60")
			w.WriteHeader(status)
		})
		wantStatus(t, "somebody's error", s.get(t, uri), status)
		end()
	}
	wantStatus(t, "after the errors", s.get(t, uri), http.StatusOK)
}

// testPrivate: what one may read, the next one doesn't get.
func testPrivate(t *testing.T, s *suite) {
	head := s.put(t, "inbox:1", "a", `"secret"`)
	uri := "/v1/feeds/inbox:1?at_least=" + head
	with := "Authorization: Bearer " + key
	for range 2 {
		if g := s.get(t, uri, with); g.status != http.StatusOK || g.header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("with a token: %d, Cache-Control %q", g.status, g.header.Get("Cache-Control"))
		}
		wantStatus(t, "without a token", s.get(t, uri), http.StatusUnauthorized)
		wantStatus(t, "with another token", s.get(t, uri, "Authorization: Bearer other"), http.StatusUnauthorized)
	}
	s.wantCount(t, uri, 6)
	// Nor is what a token got of a public feed: its answer may say more one day.
	public := "/v1/feeds/open:token?at_least=" + s.put(t, "open:token", "a", `1`)
	s.get(t, public, with)
	s.get(t, public, with)
	s.wantCount(t, public, 2)
}

func testMissing(t *testing.T, s *suite) {
	const uri = "/v1/feeds/open:unborn"
	wantStatus(t, uri, s.get(t, uri), http.StatusNotFound)
	s.put(t, "open:unborn", "a", `1`)
	doorbelltest.Eventually(t, "a feed that is born is found", func() bool { return s.get(t, uri).status == http.StatusOK })
}

// testHead: a HEAD that comes first leaves no empty body behind.
func testHead(t *testing.T, s *suite) {
	uri := "/v1/feeds/open:head?at_least=" + s.put(t, "open:head", "a", `1`)
	for range 2 {
		head := s.do(t, http.MethodHead, uri, "")
		get := s.get(t, uri)
		if head.status != http.StatusOK || head.body != "" || get.status != http.StatusOK || !strings.Contains(get.body, `"items"`) {
			t.Errorf("HEAD gets %d %q, GET %d %q", head.status, head.body, get.status, get.body)
		}
		if head.header.Get("ETag") != get.header.Get("ETag") || get.header.Get("ETag") == "" {
			t.Errorf("the tags are %q and %q", head.header.Get("ETag"), get.header.Get("ETag"))
		}
	}
	s.wantCount(t, uri, 1)
}

// testEncodings: who doesn't understand gzip doesn't get it, whoever came first.
func testEncodings(t *testing.T, s *suite) {
	uri := "/v1/feeds/open:encodings?at_least=" + s.put(t, "open:encodings", "a", `"`+strings.Repeat("abc", 5000)+`"`)
	for _, accept := range []string{"gzip", "identity", "gzip, br", "gzip;q=0", "", "br;q=1.0, GZIP;q=0.5, *;q=0.1", "gzip"} {
		g := s.get(t, uri, "Accept-Encoding: "+accept)
		wantStatus(t, uri, g, http.StatusOK)
		body := g.body
		switch encoding := g.header.Get("Content-Encoding"); encoding {
		case "":
		case "gzip":
			if accept == "identity" || accept == "" || accept == "gzip;q=0" {
				t.Errorf("with %q: gzip", accept)
			}
			plain, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(plain)
			if err != nil {
				t.Fatal(err)
			}
			body = string(text)
		default:
			if !strings.Contains(accept, encoding) {
				t.Errorf("with %q: %s", accept, encoding)
			}
			continue
		}
		if !strings.Contains(body, "abcabc") {
			t.Errorf("with %q: the body begins %.40q", accept, body)
		}
	}
}

func testWrites(t *testing.T, s *suite) {
	const uri = "/v1/feeds/open:writes/items/a%2Fb"
	with := "Authorization: Bearer " + key
	wantStatus(t, "PUT", s.do(t, http.MethodPut, uri, `{"n": 1}`, with), http.StatusOK)
	if g := s.get(t, uri); g.status != http.StatusOK || !strings.Contains(g.body, `{"n": 1}`) || !strings.Contains(g.body, `"a/b"`) {
		t.Errorf("a key with a slash: %d %s", g.status, g.body)
	}
	wantStatus(t, "DELETE", s.do(t, http.MethodDelete, uri, "", with), http.StatusOK)
	wantStatus(t, "POST", s.do(t, http.MethodPost, "/v1/feeds/open:writes/changes", `{"changes":[{"key":"a","value":1}]}`, with), http.StatusOK)
	wantStatus(t, "POST without a token", s.do(t, http.MethodPost, "/v1/feeds/open:writes/touch", ``), http.StatusUnauthorized)
	wantStatus(t, "a preflight", s.do(t, http.MethodOptions, "/v1/feeds/open:writes", "", "Origin: https://a.example",
		"Access-Control-Request-Method: GET"), http.StatusNoContent)
}
