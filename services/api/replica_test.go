package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// recorder is a store that tells what was asked of it.
type recorder struct {
	api.Store
	mu      sync.Mutex
	queries []store.Query
}

func (r *recorder) Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error) {
	r.mu.Lock()
	r.queries = append(r.queries, q)
	r.mu.Unlock()
	return r.Store.Delta(ctx, name, q)
}

// TestWhatReplicasMayAnswer: what memory can't hold, by one that covers all that is known here; and nothing while the bus can't
// tell what is new.
func TestWhatReplicasMayAnswer(t *testing.T) {
	rec := &recorder{}
	h := newHarness(t, func(o *api.Options) { rec.Store, o.Store = o.Store, rec })
	var body strings.Builder
	body.WriteString(`{"changes":[`)
	for i := range 40 { // ten times what a window holds, or so
		fmt.Fprintf(&body, `{"key":"k%d","value":"%s"},`, i, strings.Repeat("x", 200_000))
	}
	first := h.write("POST", "/v1/feeds/pub:big/changes", strings.TrimSuffix(body.String(), ",")+`]}`)
	head := h.put("pub:big", "last", "1")

	enough := func(target string) (all []string) {
		t.Helper()
		rec.mu.Lock()
		rec.queries = nil
		rec.mu.Unlock()
		if a := h.get(target); a.StatusCode != http.StatusOK && a.StatusCode != http.StatusGone {
			t.Fatalf("%s: %d %.200s", target, a.StatusCode, a.body)
		}
		rec.mu.Lock()
		defer rec.mu.Unlock()
		for _, q := range rec.queries {
			if !q.Enough.IsZero() {
				all = append(all, q.Enough.String())
			}
		}
		return all
	}
	// Nothing older than what is known here, although less would do.
	for _, target := range []string{"/v1/feeds/pub:big", "/v1/feeds/pub:big?at_least=" + head, "/v1/feeds/pub:big?at_least=" + first + "&limit=20"} {
		got := enough(target)
		for _, one := range got {
			if one != head {
				t.Errorf("%s: %v is enough; want %s", target, got, head)
			}
		}
		if len(got) == 0 {
			t.Errorf("%s: no replica may answer it", target)
		}
	}
	h.bus.set(true, nil)
	if got := enough("/v1/feeds/pub:big?at_least=" + first + "&limit=21"); len(got) != 0 {
		t.Errorf("without the bus: %v is enough", got)
	}
	if got := enough("/v1/feeds/pub:big/changes?since=" + head + "0&at_least=" + head); len(got) != 0 {
		t.Errorf("a reset without the bus: %v is enough", got)
	}
}
