package api_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// lose has no call reach the store any more.
func (h *harness) lose() {
	h.store.before(func(context.Context, string) error { return store.ErrUnavailable })
}

// TestWithoutTheStoreMemoryGoesOn: a write whose outcome nobody knows, or that was signalled and can't be loaded, doesn't take
// a feed out of memory; what is asked for above that isn't lied about, and the store is believed again at once when it is back.
func TestWithoutTheStoreMemoryGoesOn(t *testing.T) {
	h := newHarness(t, waitFor(20))
	first := h.put("pub:a", "one", "1")
	head := h.put("pub:a", "two", "2")
	const snapshot = "/v1/feeds/pub:a"
	delta := snapshot + "/changes?since=" + first
	for _, path := range []string{snapshot, delta} {
		h.wantHeader(h.get(path), "Doorbell-Cursor", head)
	}
	tag := h.get(snapshot).Header.Get("ETag")
	next := h.head("pub:a")
	next.Seq++

	served := func(when string) {
		t.Helper()
		for _, path := range []string{snapshot, delta, snapshot + "?at_least=" + head, snapshot + "?limit=1"} {
			if a := h.get(path); a.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: %d %s", when, path, a.StatusCode, a.body)
			}
		}
		if a := h.get(snapshot, header{"If-None-Match": tag}); a.StatusCode != http.StatusNotModified {
			t.Errorf("%s: 304 became %d", when, a.StatusCode)
		}
		h.wantStatus(h.get(snapshot+"?at_least="+next.String()), 503)
		h.wantProblem(h.get(snapshot+"/changes?since="+next.String()), 503, "unavailable")
		h.wantProblem(h.get("/v1/feeds/pub:cold"), 503, "unavailable")
	}
	h.lose()
	served("before anything has happened")
	h.wantProblem(h.do("PUT", snapshot+"/items/two", "3", bearer(writerToken)), 503, "unavailable")
	served("after a write that may have happened")
	if err := h.bus.Publish(t.Context(), "pub:a", next); err != nil {
		t.Fatal(err)
	}
	served("after a signal of what can't be loaded")

	h.store.before(nil)
	if now := h.put("pub:a", "two", "4"); now != next.String() {
		t.Fatalf("it is at %s; want %s", now, next)
	}
	for _, path := range []string{snapshot, delta, snapshot + "?at_least=" + next.String()} {
		h.wantHeader(h.get(path), "Doorbell-Cursor", next.String())
	}

	// What was dropped isn't served any more.
	h.lose()
	h.wantProblem(h.do("PUT", snapshot+"/items/two", "5", bearer(writerToken)), 503, "unavailable")
	h.wantHeader(h.get(snapshot), "Doorbell-Cursor", next.String())
	next = feed.Cursor{Epoch: next.Epoch + 1}
	if err := h.bus.Publish(t.Context(), "pub:a", next); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); h.get(snapshot).StatusCode == http.StatusOK; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a feed that was dropped is served still")
		}
	}
	h.wantProblem(h.get(snapshot), 503, "unavailable")
	h.wantProblem(h.get(delta), 503, "unavailable")
}

// TestWaitersHearThatTheStoreIsBack: they were signalled what couldn't be loaded, and nobody signals it again.
func TestWaitersHearThatTheStoreIsBack(t *testing.T) {
	h := newHarness(t)
	head := h.put("pub:a", "one", "1")
	h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
	answered := make(chan answer)
	go func() { answered <- h.get("/v1/feeds/pub:a/changes?since=" + head + "&wait=20") }()
	for h.api.Polling() == 0 {
		time.Sleep(time.Millisecond)
	}
	next := h.appendDirectly("pub:a", "two", "2")
	h.lose()
	h.publish("pub:a")
	for h.store.count("delta") < 2 { // it is asked again, in vain
		time.Sleep(time.Millisecond)
	}
	back := time.Now()
	h.store.before(nil)
	h.wantHeader(<-answered, "Doorbell-Cursor", next.String())
	if took := time.Since(back); took > 10*time.Second {
		t.Errorf("answered %s after it was back", took)
	}
}
