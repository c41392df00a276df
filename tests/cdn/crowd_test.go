//go:build unix

package cdn

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// testCrowd: five hundred clients were signalled the same head. The origin is asked once, also when it is so slow that all
// of them are there before it answers.
func testCrowd(t *testing.T, s *suite) {
	const crowd = 500
	since := s.put(t, "open:crowd", "a", `1`)
	head := s.put(t, "open:crowd", "b", `2`)
	uri := "/v1/feeds/open:crowd/changes?since=" + since + "&at_least=" + head
	s.slow(300 * time.Millisecond)
	defer s.slow(0)

	// Connections of their own, opened before, so that they ask at once.
	client := &http.Client{Timeout: doorbelltest.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: crowd}}
	defer client.CloseIdleConnections()
	var asked sync.WaitGroup
	var failed atomic.Int64
	begin := make(chan struct{})
	for range crowd {
		asked.Go(func() {
			<-begin
			res, err := client.Get(s.edge.URL() + uri)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK || res.Header.Get("Doorbell-Cursor") != head {
				failed.Add(1)
			}
		})
	}
	close(begin)
	asked.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d got something else", n, crowd)
	}
	s.wantCount(t, uri, 1)
}

func testPinned(t *testing.T, s *suite) {
	head := s.put(t, "open:pinned", "a", `1`)
	uri := "/v1/feeds/open:pinned?at_least=" + head
	first := s.get(t, uri)
	wantStatus(t, uri, first, http.StatusOK)
	s.put(t, "open:pinned", "a", `2`) // it names a version; what it answers stays right
	second := s.get(t, uri)
	if second.status != http.StatusOK || second.body != first.body {
		t.Errorf("the second time: %d %s", second.status, second.body)
	}
	for name, want := range map[string]string{
		"Cache-Control": "public, max-age=3600, immutable", "CDN-Cache-Control": "public, max-age=3600, immutable",
		"Access-Control-Allow-Origin": "*", "Doorbell-Cursor": head, "Doorbell-For-Browsers": "", "Doorbell-Revalidate": "",
	} {
		if got := strings.Join(second.header.Values(name), " | "); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	if g := s.get(t, uri, "If-None-Match: "+first.header.Get("ETag")); g.status != http.StatusNotModified {
		t.Errorf("with its ETag: %d", g.status)
	}
	s.wantCount(t, uri, 1)
	// Another limit is another answer.
	wantStatus(t, "with a limit", s.get(t, uri+"&limit=1"), http.StatusOK)
	s.wantCount(t, uri+"&limit=1", 1)
}

// testStaleWhileRevalidate: while the origin is slow to answer anew, clients get what there is.
func testStaleWhileRevalidate(t *testing.T, s *suite) {
	const uri = "/v1/feeds/open:stale"
	old := s.put(t, "open:stale", "a", `1`)
	if g := s.get(t, uri); g.header.Get("Doorbell-Cursor") != old ||
		g.header.Get("Cache-Control") != "public, max-age=0, must-revalidate" {
		t.Fatalf("%d %v", g.status, g.header)
	}
	s.wantCount(t, uri, 1)
	head := s.put(t, "open:stale", "a", `2`)
	s.slow(time.Second)
	defer s.slow(0)
	doorbelltest.Eventually(t, "it is asked for anew", func() bool {
		began := time.Now()
		g := s.get(t, uri)
		if g.status != http.StatusOK || (s.count(uri) == 2 && time.Since(began) > time.Minute) {
			t.Fatalf("while it is asked for anew: %d", g.status)
		}
		return s.count(uri) > 1
	})
	doorbelltest.Eventually(t, "the new answer is served", func() bool {
		return s.get(t, uri).header.Get("Doorbell-Cursor") == head
	})
}

// testStaleIfError: an origin that fails, or isn't there, is covered up by what there is.
func testStaleIfError(t *testing.T, s *suite) {
	const uri = "/v1/feeds/brief:errors"
	s.put(t, "brief:errors", "a", `1`)
	wantStatus(t, uri, s.get(t, uri), http.StatusOK)
	for name, fail := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("CDN-Cache-Control", "no-store")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"a broken connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		before := s.count(uri)
		end := s.during(t, fail)
		for s.count(uri) < before+3 {
			if g := s.get(t, uri); g.status != http.StatusOK {
				t.Fatalf("while the origin answers with %s: %d %s", name, g.status, g.body)
			}
			time.Sleep(10 * time.Millisecond) // it is fresh for a second
		}
		end()
		s.put(t, "brief:errors", "a", `2`)
		head := s.put(t, "brief:errors", "a", `3`)
		doorbelltest.Eventually(t, "the origin's answers are served again after "+name, func() bool {
			return s.get(t, uri).header.Get("Doorbell-Cursor") == head
		})
	}
}
