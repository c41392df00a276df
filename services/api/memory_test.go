package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// TestAHerdAsksOnce: however many read at a new head, by however many queries, the store is asked once, and at an
// unchanged head not at all.
func TestAHerdAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
		time.Sleep(time.Second) // it is followed by now
		h.store.before(func(context.Context, string) error { time.Sleep(50 * time.Millisecond); return nil })
		for range 3 {
			next := h.appendDirectly("pub:a", "two", "2").String()
			if err := h.bus.Publish(t.Context(), "pub:a", h.head("pub:a")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // it is told
			h.store.reset()
			for range 2 {
				var wg sync.WaitGroup
				for i := range 100 {
					target := []string{"/v1/feeds/pub:a", "/v1/feeds/pub:a?at_least=" + next, "/v1/feeds/pub:a/changes?since=" + head, "/v1/feeds/pub:a/items/two"}[i%4]
					wg.Go(func() {
						if a := h.get(target); a.StatusCode != http.StatusOK || (i%4 < 3 && a.Header.Get("Doorbell-Cursor") != next) {
							t.Errorf("%s: %d %s", target, a.StatusCode, a.body)
						}
					})
				}
				wg.Wait()
			}
			if n := h.store.count("delta"); n != 1 {
				t.Errorf("the store was asked %d times for 200 reads; want once", n)
			}
		}
	})
}

// TestReadsGoOnWithoutTheDatabase, from memory; what isn't there, and writes, get 503.
func TestReadsGoOnWithoutTheDatabase(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	head := h.put("pub:a", "two", "2")
	h.settle("pub:a")
	h.store.before(func(context.Context, string) error { return errUnavailable })
	for _, target := range []string{"/v1/feeds/pub:a", "/v1/feeds/pub:a?limit=1", "/v1/feeds/pub:a/items/one", "/v1/feeds/pub:a/changes?since=" + head} {
		h.wantStatus(h.get(target), 200)
	}
	h.wantProblem(h.get("/v1/feeds/pub:cold"), 503, "unavailable")
	h.wantProblem(h.do("PUT", "/v1/feeds/pub:a/items/one", "3", bearer(writerToken)), 503, "unavailable")
	// That may have been written or not. It wasn't acknowledged, so what there is without it may be read (outage_test.go).
	h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
	h.store.before(nil)
	h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
}

// settle reads the feed until that asks nobody.
func (h *harness) settle(name string) {
	h.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		h.store.reset()
		h.wantStatus(h.get("/v1/feeds/"+name), 200)
		if h.store.count("") == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.Fatal("reads never come from memory")
		}
	}
}

// TestSignalsAreHeard: what others write is read once it is signalled, births included.
func TestSignalsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.wantProblem(h.get("/v1/feeds/pub:a"), 404, "no_feed")
		time.Sleep(time.Second)
		h.wantProblem(h.get("/v1/feeds/pub:a"), 404, "no_feed")
		for range 3 {
			head := h.appendDirectly("pub:a", "one", "1")
			if err := h.bus.Publish(t.Context(), "pub:a", head); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			h.wantHeader(h.get("/v1/feeds/pub:a"), "Doorbell-Cursor", head.String())
		}
	})
}

// TestALostBusIsNotBelieved: while it is lost every read asks the store, those together once, and afterwards what was
// loaded before is looked at once more, because a signal may have been lost.
func TestALostBusIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		interrupted, ok := h.bus.Bus.(interface {
			Interrupt()
			Resume()
		})
		if !ok {
			t.Fatal("not the bus that was expected")
		}
		h.put("pub:a", "one", "1")
		h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
		time.Sleep(time.Second)
		interrupted.Interrupt()
		synctest.Wait()
		head := h.appendDirectly("pub:a", "one", "2")
		h.store.reset()
		h.store.before(func(context.Context, string) error { time.Sleep(10 * time.Millisecond); return nil })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { h.wantHeader(h.get("/v1/feeds/pub:a"), "Doorbell-Cursor", head.String()) })
		}
		wg.Wait()
		if n := h.store.count(""); n < 1 || n > 2 {
			t.Errorf("the store was asked %d times for 50 reads", n)
		}
		head = h.appendDirectly("pub:a", "one", "3")
		interrupted.Resume()
		synctest.Wait()
		h.wantHeader(h.get("/v1/feeds/pub:a"), "Doorbell-Cursor", head.String())
		h.store.reset()
		h.wantHeader(h.get("/v1/feeds/pub:a"), "Doorbell-Cursor", head.String())
		if n := h.store.count(""); n != 0 {
			t.Errorf("the store was asked %d times although the bus is back", n)
		}
	})
}

// TestPurgedDeltasAreStillRight: the store can't give them any more, the window can.
func TestPurgedDeltasAreStillRight(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	since := h.put("pub:a", "two", "2")
	h.settle("pub:a")
	h.write("DELETE", "/v1/feeds/pub:a/items/one", "")
	h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
	if n, err := h.store.Purge(t.Context(), feed.Scope{Except: true}, farFuture); err != nil || n != 1 {
		t.Fatalf("purged %d, %v", n, err)
	}
	a := h.get("/v1/feeds/pub:a/changes?since=" + since)
	h.wantStatus(a, 200)
	if !strings.Contains(a.body, `{"key":"one","seq":3,"deleted":true}`) {
		t.Errorf("the deletion is missing: %s", a.body)
	}
}

// TestTagsTellAnswersApart: no URL's tag matches at another that has something else to say.
func TestTagsTellAnswersApart(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	head := h.put("pub:a", "two", "2")
	epoch := head[:7]
	targets := []string{
		"/v1/feeds/pub:a", "/v1/feeds/pub:a?limit=1", "/v1/feeds/pub:a?limit=2", "/v1/feeds/pub:a?limit=3",
		"/v1/feeds/pub:a/changes", "/v1/feeds/pub:a/changes?limit=1", "/v1/feeds/pub:a/changes?limit=2",
		"/v1/feeds/pub:a/changes?since=" + epoch + "-0", "/v1/feeds/pub:a/changes?since=" + epoch + "-1",
		"/v1/feeds/pub:a/changes?since=" + head, "/v1/feeds/pub:a/changes?since=" + epoch + "-1~2",
		"/v1/feeds/pub:a/items/one", "/v1/feeds/pub:a/items/two",
	}
	for _, settled := range []bool{false, true} {
		if settled {
			h.settle("pub:a")
		}
		for _, from := range targets {
			one := h.get(from)
			tag := one.Header.Get("ETag")
			if tag == "" {
				continue
			}
			for _, to := range targets {
				other := h.get(to)
				a := h.get(to, header{"If-None-Match": tag})
				if want := map[bool]int{true: 304, false: 200}[other.body == one.body && other.Header.Get("ETag") == tag]; a.StatusCode != want {
					t.Errorf("%s of %s sent to %s: %d; want %d", tag, from, to, a.StatusCode, want)
				}
			}
		}
	}
}

// TestEncodings: what is large enough is compressed, the same for everybody, and says so.
func TestEncodings(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", `"`+strings.Repeat("doorbell ", 500)+`"`)
	h.put("pub:small", "one", `1`)
	plain := h.get("/v1/feeds/pub:a")
	for accept, want := range map[string]string{
		"": "", "identity": "", "br": "", "*": "", "gzip": "gzip", "gzip, deflate, br": "gzip", "gzip;q=0": "", "GZIP;q=0.5": "gzip",
		"gzip, deflate, br, zstd": "zstd", "zstd;q=0.1, gzip;q=0.9": "gzip", "gzip;q=1.0,zstd;q=1": "zstd", "zstd;q=2": "", "zstd;x": "",
		"gzip;q=0, zstd": "zstd", ",,;": "",
	} {
		a := h.get("/v1/feeds/pub:a", header{"Accept-Encoding": accept})
		h.wantHeader(a, "Content-Encoding", want)
		h.wantHeader(a, "Vary", "Accept-Encoding")
		h.wantHeader(a, "ETag", plain.Header.Get("ETag"))
		h.wantHeader(a, "Content-Length", fmt.Sprint(len(a.body)))
		if got := decoded(t, want, a.body); got != plain.body {
			t.Errorf("%q decodes to %d bytes; want %d", accept, len(got), len(plain.body))
		}
		h.wantHeader(h.get("/v1/feeds/pub:small", header{"Accept-Encoding": accept}), "Content-Encoding", "")
		poll := h.do("POST", "/v1/poll", `{"feeds":{"pub:a":""}}`, header{"Accept-Encoding": accept})
		h.wantHeader(poll, "Content-Encoding", want)
		h.wantHeader(poll, "Vary", "Accept-Encoding")
		h.wantHeader(poll, "Content-Length", fmt.Sprint(len(poll.body)))
		if got := decoded(t, want, poll.body); !strings.HasPrefix(got, `{"feeds":{"pub:a":{`) || len(got) < 4500 {
			t.Errorf("a poll with %q decodes to %d bytes, %.50s", accept, len(got), got)
		}
		h.wantHeader(h.do("POST", "/v1/poll", `{"feeds":{"pub:small":""}}`, header{"Accept-Encoding": accept}), "Content-Encoding", "")
		h.wantStatus(h.get("/v1/feeds/pub:a", header{"Accept-Encoding": accept, "If-None-Match": plain.Header.Get("ETag")}), 304)
	}
}

func decoded(t *testing.T, encoding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestMemoryIsBounded: feeds beyond the bound are let go of and unfollowed, and pages of large ones don't push out
// everything else.
func TestMemoryIsBounded(t *testing.T) {
	const most = 256 << 10
	h := newHarness(t, func(o *api.Options) { o.CacheBytes = most })
	value := `"` + strings.Repeat("x", 1000) + `"`
	for i := range 600 {
		name := fmt.Sprint("pub:", i)
		h.appendDirectly(name, "one", value)
		h.wantStatus(h.get("/v1/feeds/"+name), 200)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		feeds, size := h.api.Cached()
		if feeds < 200 && size <= most {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d feeds in %d bytes", feeds, size)
		}
	}
	// One that was let go of is still answered rightly.
	head := h.appendDirectly("pub:0", "one", "2")
	if err := h.bus.Publish(t.Context(), "pub:0", head); err != nil {
		t.Fatal(err)
	}
	for h.get("/v1/feeds/pub:0").Header.Get("Doorbell-Cursor") != head.String() {
		time.Sleep(time.Millisecond)
	}
}
