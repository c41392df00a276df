package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/policy"
)

const noStore = "no-store"

// outcome is what the table of cache headers distinguishes.
type outcome struct {
	read      bool // an answer to a read of one feed
	public    bool // the feed's
	canonical bool // the query has the one form that caches may hold
	pinned    bool // and names versions, so that the answer never becomes wrong
	status    int
	code      string // of the problem, if it is one
}

// cacheHeaders is the protocol's table: Cache-Control (browsers and unaware caches) and CDN-Cache-Control. A 304 has the
// headers of the 200 that it stands for, since caches update the stored answer with them. Errors may not be held, those
// of private feeds included; nor may anything that isn't named here.
func cacheHeaders(o outcome, figures policy.Cache) (cacheControl, cdnCacheControl string) {
	data := o.read && (o.status == http.StatusOK || o.status == http.StatusNotModified)
	switch {
	case data && !o.public:
		return "private, no-cache", noStore
	case data && o.canonical && o.pinned:
		immutable := "public, max-age=" + seconds(figures.Pinned) + ", immutable"
		return immutable, immutable
	case data && o.canonical:
		return "public, max-age=0, must-revalidate",
			"max-age=" + seconds(figures.Shared) +
				", stale-while-revalidate=" + seconds(figures.StaleWhileRevalidate) +
				", stale-if-error=" + seconds(figures.StaleIfError)
	case o.read && o.public && o.canonical && o.status == http.StatusNotFound && o.code == codeNoFeed:
		missing := "public, max-age=" + seconds(figures.Missing)
		return missing, missing
	}
	return noStore, noStore
}

func setCacheHeaders(h http.Header, o outcome, figures policy.Cache) {
	cacheControl, cdn := cacheHeaders(o, figures)
	h.Set("Cache-Control", cacheControl)
	h.Set("CDN-Cache-Control", cdn)
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
