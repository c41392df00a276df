package api_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// TestLargeWalk loads 200,000 items in pages while a writer changes and deletes: in the end the copy is the truth, and the API
// has kept no more than it may.
func TestLargeWalk(t *testing.T) {
	items, most := 200_000, 8<<20
	if raced {
		items = 40_000 // in four pages; without the race detector it is all of them
	}
	h := newHarness(t, func(o *api.Options) { o.CacheBytes = most })
	value := []byte(`"` + strings.Repeat("v", 100) + `"`)
	truth := make(map[string]string, items)
	write := func(edits []feed.Edit) {
		w, err := h.store.Append(t.Context(), "pub:large", store.Write{Edits: edits})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range edits {
			if delete(truth, e.Key); !e.Deleted {
				truth[e.Key] = string(e.Value)
			}
		}
		if err := h.bus.Publish(t.Context(), "pub:large", w.Cursor); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < items; i += 1000 {
		edits := make([]feed.Edit, 1000)
		for j := range edits {
			edits[j] = feed.Edit{Key: fmt.Sprint("k", i+j), Value: value}
		}
		write(edits)
	}
	r := replica{items: map[string]string{}, seqs: map[string]int64{}}
	before := heap()
	pages := 0
	for more := true; more; pages++ {
		more = r.pull(h, "pub:large", 10_000)
		if pages < items/10_000 {
			write([]feed.Edit{
				{Key: fmt.Sprint("k", pages*7919), Deleted: true}, {Key: fmt.Sprint("k", items-1-pages*7919), Value: []byte("1")},
				{Key: fmt.Sprint("new", pages), Value: []byte("2")},
			})
		}
		if _, held := h.api.Cached(); held > 2*most {
			t.Errorf("%d bytes are held after %d pages", held, pages)
		}
	}
	if !maps.Equal(r.items, truth) || r.cursor != h.head("pub:large").String() {
		t.Errorf("the walk ends with %d items at %s; the truth is %d at %s", len(r.items), r.cursor, len(truth), h.head("pub:large"))
	}
	// Besides what the copy takes.
	if grown := heap() - before - int64(len(r.items))*700; grown > 64<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestPagesMeet: readers who are behind by different lengths go on at the same places.
func TestPagesMeet(t *testing.T) {
	h := newHarness(t)
	for range 3 {
		edits := make([]feed.Edit, 1000)
		for j := range edits {
			edits[j] = feed.Edit{Key: fmt.Sprint("k", j), Value: []byte("1")}
		}
		if _, err := h.store.Append(t.Context(), "pub:a", store.Write{Edits: edits[:900]}); err != nil {
			t.Fatal(err)
		}
	}
	epoch := h.head("pub:a").String()[:7]
	for _, since := range []int{1801, 1850, 1999} { // the live ones are 1801 to 2700
		a := h.get(fmt.Sprintf("/v1/feeds/pub:a/changes?since=%s-%d&limit=600", epoch, since))
		h.wantHeader(a, "Doorbell-Cursor", epoch+"-2000")
	}
}

// TestMetrics: what is done is counted, by names that stay few.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := newHarness(t, func(o *api.Options) { o.Metrics = registry })
	head := h.put("pub:a", "one", "1")
	h.settle("pub:a")
	for range 10 {
		h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
		h.wantStatus(h.get("/v1/feeds/pub:a", header{"If-None-Match": `W/"` + head + `"`}), 304)
	}
	h.wantStatus(h.get("/v1/feeds/pub:a/changes?since=zzzzzzz-1"), 410)
	h.wantStatus(h.get("/nothing"), 404)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, least := range map[string]float64{
		"doorbell_api_requests_total 2xx /v1/feeds/:feed":         11,
		"doorbell_api_requests_total 3xx /v1/feeds/:feed":         10,
		"doorbell_api_requests_total 4xx /v1/feeds/:feed/changes": 1,
		"doorbell_api_requests_total 4xx other":                   1,
		"doorbell_api_not_modified_total":                         10,
		"doorbell_api_reads_total memory":                         20,
		"doorbell_api_resets_total":                               1,
		"doorbell_api_query_seconds append":                       1,
		"doorbell_api_query_seconds delta":                        1,
	} {
		if got[name] < least {
			t.Errorf("%s is %v; want at least %v", name, got[name], least)
		}
	}
}

// TestOverload: more than the database may be asked at once, and may wait, is refused at once and told when to come back.
func TestOverload(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.DatabaseCalls = 1 })
	hold := make(chan struct{})
	h.store.before(func(context.Context, string) error { <-hold; return nil })
	statuses := make(chan answer, 30)
	for i := range 30 {
		go func() { statuses <- h.get(fmt.Sprint("/v1/feeds/pub:", i)) }()
	}
	for range 21 { // one is let in, eight wait
		a := <-statuses
		h.wantProblem(a, http.StatusServiceUnavailable, "overloaded")
		if after := a.Header.Get("Retry-After"); after < "1" || after > "5" {
			t.Errorf("Retry-After is %s", after)
		}
	}
	close(hold)
	for range 9 {
		<-statuses
	}
}
