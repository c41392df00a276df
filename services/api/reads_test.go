package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestReadShapes(t *testing.T) {
	h := newHarness(t)
	first := h.put("pub:a", "one", `{"n":1}`)
	h.put("pub:a", "two", `2`)
	last := h.write("DELETE", "/v1/feeds/pub:a/items/two", "")
	epoch := first[:7]

	snapshot := h.get("/v1/feeds/pub:a")
	h.wantStatus(snapshot, 200)
	if want := fmt.Sprintf(`{"feed":"pub:a","cursor":"%s","more":false,"items":[{"key":"one","seq":1,"value":{"n":1}}]}`, last); snapshot.body != want {
		t.Errorf("snapshot\n%s\nwant\n%s", snapshot.body, want)
	}
	delta := h.get("/v1/feeds/pub:a/changes?since=" + first)
	if want := fmt.Sprintf(`{"feed":"pub:a","since":"%s","cursor":"%s","more":false,"changes":[{"key":"two","seq":3,"deleted":true}]}`, first, last); delta.body != want {
		t.Errorf("delta\n%s\nwant\n%s", delta.body, want)
	}
	fromStart := h.get("/v1/feeds/pub:a/changes")
	if want := fmt.Sprintf(`{"feed":"pub:a","since":"","cursor":"%s","more":false,"changes":[{"key":"one","seq":1,"value":{"n":1}}]}`, last); fromStart.body != want {
		t.Errorf("from the start\n%s\nwant\n%s", fromStart.body, want)
	}
	bare := h.get("/v1/feeds/pub:a/changes?since=1")
	if bare.body != delta.body {
		t.Errorf("bare seq\n%s\nwant\n%s", bare.body, delta.body)
	}
	for _, a := range []answer{snapshot, delta, fromStart, bare} {
		h.wantHeader(a, "Doorbell-Cursor", last)
		h.wantHeader(a, "Doorbell-Poll-After", "5")
		h.wantHeader(a, "Cache-Tag", "feed-pub:a")
		h.wantHeader(a, "Surrogate-Key", "feed-pub:a")
		h.wantHeader(a, "Content-Type", "application/json")
		h.wantHeader(a, "Content-Length", fmt.Sprint(len(a.body)))
	}
	h.wantHeader(snapshot, "ETag", `W/"`+last+`"`)
	h.wantHeader(delta, "ETag", `W/"`+epoch+`-1..3"`)
	h.wantHeader(bare, "ETag", `W/"`+epoch+`-1..3"`)
	h.wantHeader(fromStart, "ETag", `W/"`+epoch+`-..3"`)

	item := h.get("/v1/feeds/pub:a/items/one")
	if want := fmt.Sprintf(`{"feed":"pub:a","key":"one","seq":1,"cursor":"%s","value":{"n":1}}`, first); item.body != want {
		t.Errorf("item\n%s\nwant\n%s", item.body, want)
	}
	h.wantHeader(item, "ETag", `W/"`+first+`;item"`)
	h.wantHeader(item, "Doorbell-Cursor", first)
	h.wantProblem(h.get("/v1/feeds/pub:a/items/two"), 404, "no_item")
	h.wantProblem(h.get("/v1/feeds/pub:none/items/two"), 404, "no_feed")
	h.wantProblem(h.get("/v1/feeds/pub:none"), 404, "no_feed")
	h.wantProblem(h.get("/v1/feeds/pub:none/changes"), 404, "no_feed")
}

func TestTrimmedIsTold(t *testing.T) {
	h := newHarness(t)
	for i := range 7 {
		h.put("capped:a", fmt.Sprint("k", i), "1")
	}
	if got := h.get("/v1/feeds/capped:a").object(h)["trimmed"]; got != 2.0 {
		t.Errorf("trimmed is %v; want 2", got)
	}
	if got := h.get("/v1/feeds/capped:a/changes?since=5").object(h)["trimmed"]; got != 2.0 {
		t.Errorf("trimmed is %v; want 2", got)
	}
}

func TestHeadHasTheHeadersOfGet(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", `"x"`)
	server := httptest.NewServer(h.api.Handler())
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	for _, path := range []string{
		"/v1/feeds/pub:a", "/v1/feeds/pub:a/changes?since=0", "/v1/feeds/pub:a/items/one", "/v1/feeds/pub:none", "/v1/feeds/pub:a?limit=0",
	} {
		var headers [2]http.Header
		for i, method := range []string{"GET", "HEAD"} {
			req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || (method == "HEAD") != (len(body) == 0) {
				t.Errorf("%s %s: %q, %v", method, path, body, err)
			}
			res.Header.Del("Date")
			headers[i] = res.Header
			headers[i].Set("Status", res.Status)
		}
		if fmt.Sprint(headers[0]) != fmt.Sprint(headers[1]) {
			t.Errorf("%s:\nGET  %v\nHEAD %v", path, headers[0], headers[1])
		}
	}
	h.wantProblem(h.do("HEAD", "/v1/heads", ""), 405, "method_not_allowed")
}

func TestResets(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", `1`)
	old := h.put("pub:a", "two", `2`)
	born := h.write("DELETE", "/v1/feeds/pub:a", "", header{"If-Match": `"` + old + `"`})
	if !strings.HasSuffix(born, "-0") || born[:7] <= old[:7] {
		t.Fatalf("dropped %s, reborn as %s", old, born)
	}
	if a := h.get("/v1/feeds/pub:a"); a.StatusCode != http.StatusOK || !strings.HasSuffix(a.body, `"items":[]}`) {
		t.Errorf("a dropped feed reads as %d %s", a.StatusCode, a.body)
	}
	head := h.put("pub:a", "three", `3`)
	for name, since := range map[string]string{
		"older epoch": old,
		"ahead":       head[:7] + "-99",
		"newer epoch": "zzzzzzz-1",
		"bare, ahead": "99",
	} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.T = t
			for _, query := range []string{"?since=" + since, "?since=" + since + "&at_least=" + head} {
				a := h.get("/v1/feeds/pub:a/changes" + query)
				m := h.wantProblem(a, 410, "reset")
				if m["snapshot"] != "/v1/feeds/pub:a?at_least="+head || m["cursor"] != head {
					t.Errorf("the way on is %s", a.body)
				}
				h.wantHeader(a, "Doorbell-Cursor", head)
				h.wantHeader(a, "Access-Control-Allow-Origin", "*")
				if next := h.get(m["snapshot"].(string)); next.StatusCode != http.StatusOK || next.Header.Get("Doorbell-Cursor") != head {
					t.Errorf("and leads to %d %s", next.StatusCode, next.body)
				}
			}
		})
	}
	// Below the floor.
	h.write("DELETE", "/v1/feeds/pub:a/items/three", "")
	if _, err := h.store.Purge(t.Context(), feed.Scope{Except: true}, farFuture); err != nil {
		t.Fatal(err)
	}
	h.wantProblem(h.get("/v1/feeds/pub:a/changes?since="+head), 410, "reset")
}

func TestStoreFailures(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", `1`)
	const secret = "dial tcp 10.1.2.3: password=hunter2"
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"unavailable": {fmt.Errorf("%s: %w", secret, errUnavailable), 503, "unavailable"},
		"timeout":     {fmt.Errorf("%s: %w", secret, context.DeadlineExceeded), 503, "unavailable"},
		"unknown":     {errors.New(secret), 500, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.T = t
			h.store.before(func(context.Context, string) error { return tc.err })
			defer h.store.before(nil)
			w := bearer(writerToken)
			for _, a := range []answer{
				h.get("/v1/feeds/pub:a"), h.get("/v1/feeds/pub:a/changes?since=0"), h.get("/v1/feeds/pub:a/items/one"),
				h.get("/v1/feeds/pub:a?at_least=0"), h.get("/v1/feeds/pub:a?at_least=5"),
				h.do("PUT", "/v1/feeds/pub:a/items/one", "2", w), h.do("DELETE", "/v1/feeds/pub:a/items/one", "", w),
				h.do("POST", "/v1/feeds/pub:a/changes", `{"changes":[{"key":"a","value":1}]}`, w),
				h.do("POST", "/v1/feeds/pub:a/touch", "", w),
				h.do("DELETE", "/v1/feeds/pub:a", "", w, header{"If-Match": `"` + h.head("pub:a").String() + `"`}),
			} {
				h.wantProblem(a, tc.status, tc.code)
				if strings.Contains(a.body, "hunter2") || strings.Contains(a.body, "10.1.2.3") {
					t.Errorf("something internal leaks: %s", a.body)
				}
				if (a.Header.Get("Retry-After") != "") != (tc.status == 503) {
					t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
				}
			}
		})
	}
	if !strings.Contains(h.log.String(), "hunter2") {
		t.Error("the operator isn't told")
	}
}
