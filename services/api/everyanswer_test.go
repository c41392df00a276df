package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// The answers that openapi.yaml describes and that no other test has had. What they have to be, conforms knows.

// late is a body that doesn't arrive in time.
type late struct{}

func (late) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestEveryAnswerToReads(t *testing.T) {
	broken := errors.New("it is broken")
	for _, path := range []string{"", "/changes", "/items/k"} {
		h := newHarness(t)
		head := h.put("pub:a", "k", "1")
		h.put("inbox:8", "k", "1")
		for _, method := range []string{"GET", "HEAD"} {
			at := func(feed, query string) string { return "/v1/feeds/" + feed + path + query }
			want := func(status int, target string, headers ...header) {
				t.Helper()
				if a := h.do(method, target, "", headers...); a.StatusCode != status {
					t.Errorf("%s %s: %d; want %d", method, target, a.StatusCode, status)
				}
			}
			want(200, at("pub:a", ""))
			want(304, at("pub:a", ""), header{"If-None-Match": h.do(method, at("pub:a", ""), "").Header.Get("ETag")})
			want(401, at("inbox:8", ""))
			want(403, at("inbox:8", ""), bearer(readerToken))
			want(404, at("pub:none", ""))
			want(400, at("PUB", ""))
			if path == "/changes" {
				want(410, at("pub:a", "?since="+head+"9"))
			}
			for status, err := range map[int]error{500: broken, 503: store.ErrUnavailable} {
				h.store.before(func(context.Context, string) error { return err })
				want(status, at(fmt.Sprintf("pub:cold%d%s", status, strings.ToLower(method)), ""))
				h.store.before(nil)
			}
		}
		limits := newHarness(t, limited)
		for _, method := range []string{"GET", "HEAD"} {
			if n := limits.allowed(20, here, method, "/v1/feeds/pub:a"+path, ""); n > 5 {
				t.Errorf("%d of 20 were let through", n)
			}
		}
	}
}

func TestEveryAnswerToWrites(t *testing.T) {
	for _, tc := range []struct{ method, path, body string }{
		{"DELETE", "", `{}`}, {"POST", "/changes", `{"changes":[{"key":"k","value":1}]}`}, {"PUT", "/items/k", `1`},
		{"DELETE", "/items/k", `{}`}, {"POST", "/touch", `{}`},
	} {
		h := newHarness(t)
		head := h.put("pub:a", "k", "1")
		target := "/v1/feeds/pub:a" + tc.path
		with := []header{bearer(writerToken), {}}
		if tc.path == "" {
			with[1] = header{"If-Match": `"` + head + `"`}
		}
		want := func(status int, a answer) {
			t.Helper()
			if a.StatusCode != status {
				t.Errorf("%s %s: %d %s; want %d", tc.method, target, a.StatusCode, a.body, status)
			}
		}
		req := h.request(tc.method, target, tc.body, with...)
		req.Body = struct {
			late
			closer
		}{}
		want(408, h.send(req))
		want(413, h.do(tc.method, target, `"`+strings.Repeat("x", 9<<20)+`"`, with...))
		want(415, h.do(tc.method, target, tc.body, append(with, header{"Content-Type": "text/plain"})...))
		h.store.before(func(context.Context, string) error { return store.ErrRunning })
		want(409, h.do(tc.method, target, tc.body, append(with, once("k"))...))
		h.store.before(nil)
		limits := newHarness(t, limited)
		for range 3 {
			limits.from(here, tc.method, target, tc.body, with...)
		}
		want(429, limits.from(here, tc.method, target, tc.body, with...))
	}
}

type closer struct{}

func (closer) Close() error { return nil }

// failing knows no token, for whatever reason.
type failing struct{ err error }

func (f failing) Authenticate(context.Context, string) (*auth.Principal, error) { return nil, f.err }

func TestEveryAnswerToHeads(t *testing.T) {
	const body = `{"feeds":["inbox:8"]}`
	for _, method := range []string{"GET", "POST"} {
		ask := func(h *harness, headers ...header) answer {
			if method == "GET" {
				return h.from(here, "GET", "/v1/heads?feed=inbox:8", "", headers...)
			}
			return h.from(here, "POST", "/v1/heads", body, headers...)
		}
		h := newHarness(t)
		h.wantStatus(ask(h), http.StatusUnauthorized)
		h.wantStatus(ask(h, bearer(readerToken)), http.StatusForbidden)
		for status, err := range map[int]error{500: errors.New("broken"), 503: auth.ErrUnavailable} {
			h := newHarness(t, func(o *api.Options) { o.Auth = failing{err} })
			h.wantStatus(ask(h, bearer(readerToken)), status)
		}
		limits := newHarness(t, limited)
		for range 2 {
			ask(limits)
		}
		limits.wantStatus(ask(limits), http.StatusTooManyRequests)
	}
	h := newHarness(t)
	req := h.request("POST", "/v1/heads", body)
	req.Body = struct {
		late
		closer
	}{}
	h.wantStatus(h.send(req), http.StatusRequestTimeout)
}

func TestTheDocument(t *testing.T) {
	h := newHarness(t)
	for _, target := range []string{"/v1/openapi.yaml", "/docs"} {
		for _, method := range []string{"GET", "HEAD"} {
			a := h.do(method, target, "")
			h.wantStatus(a, http.StatusOK)
			if method == "GET" && len(a.body) < 10_000 {
				t.Errorf("%s is %.100s", target, a.body)
			}
			h.wantStatus(h.do(method, target, "", header{"If-None-Match": a.Header.Get("ETag")}), http.StatusNotModified)
		}
		h.wantStatus(h.do("POST", target, ""), http.StatusMethodNotAllowed)
		h.wantStatus(h.get(target, header{"Range": "bytes=0-1"}), http.StatusOK)
	}
	if csp := h.get("/docs").Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("the page may load what it likes: %q", csp)
	}
}
