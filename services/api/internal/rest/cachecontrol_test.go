package rest

import (
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/policy"
)

// TestCacheTable walks every row of the protocol's table, and every outcome there is against the rows' order.
func TestCacheTable(t *testing.T) {
	const (
		pinned      = "public, max-age=3600, immutable"
		unpinned    = "public, max-age=0, must-revalidate"
		unpinnedCDN = "max-age=1, stale-while-revalidate=5, stale-if-error=60"
		private     = "private, no-cache"
		missing     = "public, max-age=1"
	)
	for _, read := range []bool{false, true} {
		for _, public := range []bool{false, true} {
			for _, canonical := range []bool{false, true} {
				for _, isPinned := range []bool{false, true} {
					for _, status := range []int{200, 304, 400, 401, 403, 404, 405, 410, 412, 413, 500, 503} {
						for _, code := range []string{"", "no_feed", "no_item", "reset", "behind"} {
							o := outcome{read: read, public: public, canonical: canonical, pinned: isPinned, status: status, code: code}
							if (status < 400) != (code == "") {
								continue
							}
							want, wantCDN := "no-store", "no-store"
							switch {
							case !read:
							case status < 400 && !public:
								want = private
							case !canonical, !public:
							case status < 400 && isPinned:
								want, wantCDN = pinned, pinned
							case status < 400:
								want, wantCDN = unpinned, unpinnedCDN
							case status == 404 && code == "no_feed":
								want, wantCDN = missing, missing
							}
							if got, cdn := cacheHeaders(o, policy.Default().Cache); got != want || cdn != wantCDN {
								t.Errorf("%+v: %q, CDN %q; want %q, %q", o, got, cdn, want, wantCDN)
							}
						}
					}
				}
			}
		}
	}
}

func TestCacheTableFigures(t *testing.T) {
	figures := policy.Cache{
		Pinned: 2 * time.Minute, Shared: 3 * time.Second, StaleWhileRevalidate: 4 * time.Second,
		StaleIfError: 5 * time.Second, Missing: 6 * time.Second,
	}
	o := outcome{read: true, public: true, canonical: true, pinned: true, status: 200}
	if got, cdn := cacheHeaders(o, figures); got != "public, max-age=120, immutable" || cdn != got {
		t.Errorf("pinned: %q, %q", got, cdn)
	}
	o.pinned = false
	if _, cdn := cacheHeaders(o, figures); cdn != "max-age=3, stale-while-revalidate=4, stale-if-error=5" {
		t.Errorf("unpinned: %q", cdn)
	}
	o.status, o.code = 404, codeNoFeed
	if got, _ := cacheHeaders(o, figures); got != "public, max-age=6" {
		t.Errorf("missing: %q", got)
	}
}
