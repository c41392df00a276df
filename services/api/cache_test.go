package api_test

import (
	"strings"
	"testing"
)

// TestCacheHeaders walks the protocol's table over HTTP.
func TestCacheHeaders(t *testing.T) {
	h := newHarness(t, waitFor(1))
	const (
		pinned      = "public, max-age=3600, immutable"
		unpinned    = "public, max-age=0, must-revalidate"
		unpinnedCDN = "max-age=1, stale-while-revalidate=5, stale-if-error=60"
		private     = "private, no-cache"
		no          = "no-store"
	)
	first := h.put("pub:a", "one", "1")
	head := h.put("pub:a", "two", "2")
	h.put("inbox:7", "one", "1")
	inbox := h.put("inbox:7", "two", "1")
	h.put("odd:a", "one", "1")
	w := bearer(writerToken)
	for _, tc := range []struct {
		method, target string
		header         header
		status         int
		cc, cdn        string
	}{
		{"GET", "/v1/feeds/pub:a?at_least=" + head, nil, 200, pinned, pinned},
		{"GET", "/v1/feeds/pub:a?at_least=" + first, nil, 200, pinned, pinned},
		{"GET", "/v1/feeds/pub:a?at_least=" + head + "&limit=1", nil, 200, pinned, pinned},
		{"GET", "/v1/feeds/pub:a/changes?since=" + first + "&at_least=" + head, nil, 200, pinned, pinned},
		{"GET", "/v1/feeds/pub:a/changes?at_least=" + head, nil, 200, pinned, pinned},
		{"GET", "/v1/feeds/pub:a/changes?since=" + first + "~2&at_least=" + head, nil, 200, pinned, pinned},
		{"GET", "/v1/feeds/pub:a?at_least=" + head, header{"If-None-Match": `W/"` + head + `"`}, 304, pinned, pinned},
		{"GET", "/v1/feeds/pub:a", nil, 200, unpinned, unpinnedCDN},
		{"HEAD", "/v1/feeds/pub:a", nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a", header{"If-None-Match": `W/"` + head + `"`}, 304, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a", w, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a?limit=1", nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a?at_least=1", nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a/changes", nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a/changes?since=" + first, nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a/changes?since=1&at_least=" + head, nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a/changes?since=" + first + "&at_least=2", nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/pub:a/items/one", nil, 200, unpinned, unpinnedCDN},
		{"GET", "/v1/feeds/odd:a", nil, 200, unpinned, "max-age=3, stale-while-revalidate=4, stale-if-error=5"},
		{"GET", "/v1/feeds/inbox:7", w, 200, private, no},
		{"GET", "/v1/feeds/inbox:7?at_least=" + inbox, w, 200, private, no},
		{"GET", "/v1/feeds/inbox:7/changes?limit=1000&since=1", w, 200, private, no},
		{"GET", "/v1/feeds/inbox:7/items/one", w, 200, private, no},
		{"GET", "/v1/feeds/inbox:7", header{"If-None-Match": `W/"` + inbox + `"`, "Authorization": "Bearer " + writerToken}, 304, private, no},
		{"GET", "/v1/feeds/inbox:7", nil, 401, no, no},
		{"GET", "/v1/feeds/inbox:8", w, 404, no, no},
		{"GET", "/v1/feeds/inbox:7/changes?since=99", w, 410, no, no},
		{"GET", "/v1/feeds/pub:none", nil, 404, "public, max-age=1", "public, max-age=1"},
		{"GET", "/v1/feeds/pub:none/changes?since=" + head, nil, 404, "public, max-age=1", "public, max-age=1"},
		{"GET", "/v1/feeds/pub:none/items/a", nil, 404, "public, max-age=1", "public, max-age=1"},
		{"GET", "/v1/feeds/odd:none", nil, 404, "public, max-age=6", "public, max-age=6"},
		{"GET", "/v1/feeds/pub:none?x=1", nil, 404, no, no},
		{"GET", "/v1/feeds/pub:a/items/none", nil, 404, no, no},
		{"GET", "/v1/feeds/pub:a?limit=1000", nil, 200, no, no},
		{"GET", "/v1/feeds/pub:a?x=1", nil, 200, no, no},
		{"GET", "/v1/feeds/pub:a?x=1", header{"If-None-Match": `W/"` + head + `"`}, 304, no, no},
		{"GET", "/v1/feeds/pub:a/items/one?x=1", nil, 200, no, no},
		{"GET", "/v1/feeds/pub:a/changes?at_least=" + head + "&since=" + first, nil, 200, no, no},
		{"GET", "/v1/feeds/pub:a/changes?since=" + first + "&wait=5", nil, 200, no, no},
		{"GET", "/v1/feeds/pub:a/changes?since=99", nil, 410, no, no},
		{"GET", "/v1/feeds/pub:a?at_least=99", nil, 503, no, no},
		{"GET", "/v1/feeds/pub:a?limit=0", nil, 400, no, no},
		{"GET", "/v1/feeds/NOPE", nil, 400, no, no},
		{"GET", "/v1/heads?feed=pub:a", nil, 200, no, no},
		{"GET", "/v1/heads?feed=inbox:7", w, 200, no, no},
		{"POST", "/v1/feeds/pub:none/touch", nil, 401, no, no},
		{"DELETE", "/v1/feeds/pub:none", header{"If-Match": `"` + head + `"`, "Authorization": "Bearer " + writerToken}, 404, no, no},
		{"POST", "/v1/feeds/pub:a/touch", w, 200, no, no},
		{"GET", "/nope", nil, 404, no, no},
		{"PATCH", "/v1/feeds/pub:a", nil, 405, no, no},
	} {
		a := h.do(tc.method, tc.target, "", tc.header)
		if a.StatusCode != tc.status {
			t.Errorf("%s %s: %d %s; want %d", tc.method, tc.target, a.StatusCode, a.body, tc.status)
		}
		if cc, cdn := a.Header.Get("Cache-Control"), a.Header.Get("CDN-Cache-Control"); cc != tc.cc || cdn != tc.cdn {
			t.Errorf("%s %s (%d): %q, CDN %q; want %q, %q", tc.method, tc.target, a.StatusCode, cc, cdn, tc.cc, tc.cdn)
		}
		if strings.Contains(tc.target, "inbox") && tc.method == "GET" && !strings.Contains(a.Header.Get("Vary"), "Authorization") {
			t.Errorf("%s: Vary is %q", tc.target, a.Header.Get("Vary"))
		}
	}
}
