package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// TestWaitingForMoreFeedsThanFit: who waits for a feed keeps it in memory, also where the cache has no room for it. So all wait, and
// are woken, for news as for their at_least.
func TestWaitingForMoreFeedsThanFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(o *api.Options) { o.CacheBytes = 16 << 10 })
		const n, soon, long = 100, 1, 20 // seconds
		begin := time.Now()
		var all sync.WaitGroup
		for i := range n {
			name := feed.Name(fmt.Sprintf("pub:%d", i))
			head := h.appendDirectly(string(name), "one", "1")
			next := head
			next.Seq++
			uri, last, takes := "/v1/feeds/"+string(name), head, long
			if i%2 == 0 { // news come
				last, takes = next, soon
				all.Go(func() {
					h.wantHeader(h.get(uri+"?at_least="+next.String()), "Doorbell-Cursor", next.String())
					h.wantWait(begin, soon)
				})
			}
			all.Go(func() {
				h.wantHeader(h.get(uri+"/changes?wait=20&since="+head.String()), "Doorbell-Cursor", last.String())
				h.wantWait(begin, takes)
			})
			all.Go(func() {
				a := h.do("POST", "/v1/poll", `{"feeds":{"`+string(name)+`":"`+head.String()+`"},"wait":20}`)
				h.wantStatus(a, 200)
				h.wantWait(begin, takes)
				if news := strings.Contains(a.body, next.String()); news != (last == next) {
					t.Errorf("%s at %s: %s", name, last, a.body)
				}
			})
		}
		time.Sleep(soon * time.Second)
		for i := 0; i < n; i += 2 {
			name := fmt.Sprintf("pub:%d", i)
			h.appendDirectly(name, "two", "2")
			h.publish(name)
		}
		all.Wait()
	})
}
