package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// reads are the forms of reads whose answers have a tag.
func reads(head string) map[string]string {
	epoch := head[:7]
	return map[string]string{
		"snapshot":          "/v1/feeds/pub:a",
		"snapshot, floor":   "/v1/feeds/pub:a?at_least=" + head,
		"snapshot, bare":    "/v1/feeds/pub:a?at_least=1",
		"delta":             "/v1/feeds/pub:a/changes?since=" + epoch + "-1",
		"delta, at head":    "/v1/feeds/pub:a/changes?since=" + head,
		"delta, floor":      "/v1/feeds/pub:a/changes?since=" + epoch + "-1&at_least=" + head,
		"delta, bare":       "/v1/feeds/pub:a/changes?since=1",
		"delta, from start": "/v1/feeds/pub:a/changes",
		"delta, seq 0":      "/v1/feeds/pub:a/changes?since=" + epoch + "-0",
		"walk":              "/v1/feeds/pub:a/changes?since=" + epoch + "-1~2",
		"item":              "/v1/feeds/pub:a/items/two",
	}
}

func TestNotModifiedAsksNoStore(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", `1`)
	head := h.put("pub:a", "two", `2`)
	for name, target := range reads(head) {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.T = t
			full := h.get(target)
			h.wantStatus(full, 200)
			tag := full.Header.Get("ETag")
			for _, list := range []string{tag, strings.TrimPrefix(tag, "W/"), `W/"other", ` + tag + `,"more"`} {
				for _, method := range []string{"GET", "HEAD"} {
					h.store.reset()
					a := h.do(method, target, "", header{"If-None-Match": list})
					h.wantStatus(a, 304)
					if n := h.store.count(""); n != 0 {
						t.Errorf("%s If-None-Match: %s asked the store %d times", method, list, n)
					}
					if a.body != "" {
						t.Errorf("a 304 has the body %q", a.body)
					}
					for _, same := range []string{
						"ETag", "Cache-Control", "CDN-Cache-Control", "Vary", "Doorbell-Cursor", "Doorbell-Poll-After",
						"Cache-Tag", "Access-Control-Allow-Origin",
					} {
						h.wantHeader(a, same, full.Header.Get(same))
					}
				}
			}
			for _, other := range []string{`W/"other"`, `*`, `W/"` + head[:7] + `-1"`, `W/"` + head[:7] + `-1..1"`} {
				if a := h.get(target, header{"If-None-Match": other}); a.StatusCode != http.StatusOK || a.body != full.body {
					t.Errorf("If-None-Match: %s: %d %s", other, a.StatusCode, a.body)
				}
			}

			// Without the bus the store is asked, and says the same.
			h.bus.set(true, nil)
			defer h.bus.set(false, nil)
			h.store.reset()
			h.wantStatus(h.get(target, header{"If-None-Match": tag}), 304)
			if h.store.count("") == 0 {
				t.Error("a dead bus was believed")
			}
		})
	}
}

func TestModifiedIsNoticed(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", `1`)
	head := h.put("pub:a", "two", `2`)
	tags := map[string]string{}
	for name, target := range reads(head) {
		tags[name] = h.get(target).Header.Get("ETag")
	}
	h.put("pub:a", "two", `3`)
	for name, target := range reads(head) {
		if a := h.get(target, header{"If-None-Match": tags[name]}); a.StatusCode != http.StatusOK || a.Header.Get("ETag") == tags[name] {
			t.Errorf("%s: %d with %s", name, a.StatusCode, a.Header.Get("ETag"))
		}
	}
	// An item that didn't change keeps its tag, but that takes the store.
	one := h.get("/v1/feeds/pub:a/items/one").Header.Get("ETag")
	h.wantStatus(h.get("/v1/feeds/pub:a/items/one", header{"If-None-Match": one}), 304)
}

func TestFloorGoesBeforeIfNoneMatch(t *testing.T) {
	h := newHarness(t, waitFor(1))
	head := h.put("pub:a", "one", `1`)
	tag := h.get("/v1/feeds/pub:a").Header.Get("ETag")
	next := head[:7] + "-2"
	h.wantProblem(h.get("/v1/feeds/pub:a?at_least="+next, header{"If-None-Match": tag}), 503, "behind")
}

func TestPagesHaveNoTag(t *testing.T) {
	h := newHarness(t)
	for _, key := range []string{"a", "b", "c"} {
		h.put("pub:a", key, "1")
	}
	for _, target := range []string{"/v1/feeds/pub:a?limit=2", "/v1/feeds/pub:a/changes?since=1&limit=1"} {
		a := h.get(target)
		if a.member(h, "more") != true || a.Header.Get("ETag") != "" {
			t.Errorf("%s: %s with ETag %q", target, a.body, a.Header.Get("ETag"))
		}
	}
}

func TestReadsHealTheBus(t *testing.T) {
	h := newHarness(t)
	h.bus.losePublishes()
	head := h.put("pub:a", "one", `1`)
	h.bus.set(false, nil)
	told := make(chan string, 16)
	sub, err := h.bus.Subscribe(followFunc(func(_ feed.Name, head bus.Head) { told <- head.Cursor.String() }))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if _, err := sub.Follow(t.Context(), "pub:a"); err != nil {
		t.Fatal(err)
	}
	h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
	for got := ""; got != head; {
		select {
		case got = <-told:
		case <-time.After(10 * time.Second):
			t.Fatal("the bus was never told")
		}
	}
}

type followFunc func(feed.Name, bus.Head)

func (f followFunc) Signal(name feed.Name, h bus.Head) { f(name, h) }
func (f followFunc) Alive(bool)                        {}
