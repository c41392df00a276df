package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// replica is a client's copy of a feed, built from answers alone.
type replica struct {
	cursor string
	items  map[string]string
	seqs   map[string]int64
}

type page struct {
	Since   *string  `json:"since"`
	Cursor  string   `json:"cursor"`
	More    bool     `json:"more"`
	Trimmed int64    `json:"trimmed"`
	Items   []change `json:"items"`
	Changes []change `json:"changes"`
}

type change struct {
	Key     string          `json:"key"`
	Seq     int64           `json:"seq"`
	Deleted bool            `json:"deleted"`
	Value   json.RawMessage `json:"value"`
}

// pull reads one page and tells whether there are more.
func (r *replica) pull(h *harness, name string, limit int) bool {
	h.Helper()
	target := fmt.Sprintf("/v1/feeds/%s?limit=%d", name, limit)
	if r.cursor != "" {
		target = fmt.Sprintf("/v1/feeds/%s/changes?since=%s&limit=%d", name, r.cursor, limit)
	}
	a := h.get(target)
	h.wantStatus(a, 200)
	var p page
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		h.Fatal(err)
	}
	if r.cursor != "" && (p.Since == nil || *p.Since != r.cursor) {
		h.Fatalf("a delta from %s says it is from %v", r.cursor, p.Since)
	}
	if len(p.Items)+len(p.Changes) > limit {
		h.Fatalf("%d in a page; asked for %d", len(p.Items)+len(p.Changes), limit)
	}
	for _, c := range append(p.Items, p.Changes...) {
		if c.Deleted {
			delete(r.items, c.Key)
			delete(r.seqs, c.Key)
			continue
		}
		r.items[c.Key], r.seqs[c.Key] = string(c.Value), c.Seq
	}
	for key, seq := range r.seqs {
		if seq <= p.Trimmed {
			delete(r.items, key)
			delete(r.seqs, key)
		}
	}
	if p.Cursor == r.cursor && p.More {
		h.Fatalf("the walk doesn't move on from %s", r.cursor)
	}
	r.cursor = p.Cursor
	return p.More
}

// TestWalk loads a feed in small pages while a writer changes and deletes, its tombstones being purged; in the end the copy
// equals the truth.
func TestWalk(t *testing.T) {
	for _, name := range []string{"pub:a", "capped:a"} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				h := newHarness(t)
				random := rand.New(rand.NewPCG(seed, 1))
				step := func() {
					key := fmt.Sprint("k", random.IntN(40))
					if random.IntN(3) == 0 {
						h.write("DELETE", "/v1/feeds/"+name+"/items/"+key, "")
						return
					}
					h.put(name, key, fmt.Sprint(random.IntN(1000)))
				}
				for range 80 {
					step()
				}
				r := replica{items: map[string]string{}, seqs: map[string]int64{}}
				limit := 1 + random.IntN(7)
				for range 12 {
					r.pull(h, name, limit)
					step()
				}
				for pages := 0; r.pull(h, name, limit); pages++ {
					if pages > 200 {
						t.Fatal("the walk doesn't end")
					}
				}
				truth := replica{items: map[string]string{}, seqs: map[string]int64{}}
				if truth.pull(h, name, 10_000) {
					t.Fatal("the snapshot has more")
				}
				if !maps.Equal(r.items, truth.items) || r.cursor != truth.cursor {
					t.Errorf("the walk ends with\n%v at %s\nthe truth is\n%v at %s", r.items, r.cursor, truth.items, truth.cursor)
				}
			})
		}
	}
}

// TestResponsesEndAtFourMegabytes: a page has fewer items than asked for where they are large.
func TestResponsesEndAtFourMegabytes(t *testing.T) {
	h := newHarness(t)
	large := make([]byte, 250<<10)
	for i := range large {
		large[i] = 'x'
	}
	for i := range 20 {
		h.put("pub:large", fmt.Sprint("k", i), `"`+string(large)+`"`)
	}
	a := h.get("/v1/feeds/pub:large")
	if a.member(h, "more") != true || len(a.body) > 4<<20+1<<16 || len(a.body) < 3<<20 {
		t.Errorf("%d bytes, more: %v", len(a.body), a.member(h, "more"))
	}
	r := replica{items: map[string]string{}, seqs: map[string]int64{}}
	for r.pull(h, "pub:large", 10_000) {
	}
	if len(r.items) != 20 {
		t.Errorf("%d items", len(r.items))
	}
}
