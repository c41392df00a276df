package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

func once(key string) header { return header{"Idempotency-Key": key} }

// TestIdempotencyKey: every kind of write, refused ones too, is done once, and answered the same byte for byte.
func TestIdempotencyKey(t *testing.T) {
	h := newHarness(t)
	w := bearer(writerToken)
	h.put("pub:a", "one", "1")
	for i, tc := range []struct {
		method, path, body string
		condition          header
		status             int
	}{
		{"POST", "/v1/feeds/pub:a/changes", `{"changes":[{"key":"a","value":1},{"key":"one","deleted":true}]}`, nil, 200},
		{"PUT", "/v1/feeds/pub:a/items/b", `"x"`, nil, 200},
		{"DELETE", "/v1/feeds/pub:a/items/b", ``, nil, 200},
		{"DELETE", "/v1/feeds/pub:a/items/none", ``, nil, 200},
		{"POST", "/v1/feeds/pub:a/touch", ``, nil, 200},
		{"PUT", "/v1/feeds/pub:a/items/a", `1`, header{"If-None-Match": "*"}, 412},
		{"POST", "/v1/feeds/pub:a/touch", ``, header{"If-Match": `""`}, 412},
		{"POST", "/v1/feeds/pub:a/changes", `{"changes":[{"key":"<&>","value":1,"if":"0000001-1"}]}`, nil, 412},
		{"DELETE", "/v1/feeds/pub:a", ``, header{"If-Match": `"0000001-1"`}, 412},
		{"DELETE", "/v1/feeds/pub:none", ``, header{"If-Match": `"0000001-1"`}, 404},
	} {
		key := once("key-" + string(rune('a'+i)))
		first := h.do(tc.method, tc.path, tc.body, w, key, tc.condition)
		head := h.head("pub:a")
		if first.StatusCode != tc.status || first.Header.Get("Idempotency-Replayed") != "" {
			t.Fatalf("%s %s: %d %s", tc.method, tc.path, first.StatusCode, first.body)
		}
		h.write("POST", "/v1/feeds/pub:a/touch", "") // whatever has happened since
		for range 2 {
			again := h.do(tc.method, tc.path, tc.body, w, key, tc.condition)
			if again.StatusCode != first.StatusCode || again.body != first.body || again.Header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s %s: at first %d %s, then %d %s", tc.method, tc.path, first.StatusCode, first.body, again.StatusCode, again.body)
			}
			for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control", "CDN-Cache-Control", "X-Content-Type-Options"} {
				if tc.status != http.StatusNotFound { // a missing feed's 404 carries no more here either
					h.wantHeader(again, name, first.Header.Get(name))
				}
			}
		}
		if now := h.head("pub:a"); now.Seq != head.Seq+1 {
			t.Errorf("%s %s happened again: the head is %s after %s", tc.method, tc.path, now, head)
		}
		other := h.do(tc.method, tc.path, tc.body, w, key, header{"If-Match": `"0000001-77"`})
		h.wantProblem(other, http.StatusUnprocessableEntity, "idempotency_key_reused")
	}
	head := h.head("pub:a").String()
	drop := header{"If-Match": `"` + head + `"`}
	first := h.do("DELETE", "/v1/feeds/pub:a", "", w, drop, once("drop"))
	again := h.do("DELETE", "/v1/feeds/pub:a", "", w, drop, once("drop"))
	if first.StatusCode != http.StatusOK || again.StatusCode != http.StatusOK || first.body != again.body {
		t.Errorf("a drop: %d %s, then %d %s", first.StatusCode, first.body, again.StatusCode, again.body)
	}
}

// TestIdempotencyKeyScope: a key is one of its subject's, for one method and path.
func TestIdempotencyKeyScope(t *testing.T) {
	h := newHarness(t)
	for _, tc := range []struct{ method, path, token string }{
		{"PUT", "/v1/feeds/pub:mine/items/a", writerToken},
		{"PUT", "/v1/feeds/pub:mine/items/a", readerToken},
		{"PUT", "/v1/feeds/pub:mine/items/b", writerToken},
		{"PUT", "/v1/feeds/pub:other/items/a", writerToken},
	} {
		a := h.do(tc.method, tc.path, `1`, bearer(tc.token), once(`"the-same"`))
		if a.StatusCode != http.StatusOK || a.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%v: %d %s", tc, a.StatusCode, a.body)
		}
	}
	// Quotes are the header's, not the key's. And what isn't answered for good may be asked again with the key.
	if a := h.do("PUT", "/v1/feeds/pub:mine/items/a", `1`, bearer(writerToken), once("the-same")); a.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("without its quotes: %d %s", a.StatusCode, a.body)
	}
	h.wantProblem(h.do("PUT", "/v1/feeds/pub:mine/items/c", `{`, bearer(writerToken), once("bad")), http.StatusBadRequest, "malformed_json")
	h.wantStatus(h.do("PUT", "/v1/feeds/pub:mine/items/c", `1`, bearer(writerToken), once("bad")), http.StatusOK)
}

func TestBadIdempotencyKeys(t *testing.T) {
	h := newHarness(t)
	for _, bad := range []string{`""`, " ", "a b", "a,b", "\x01", "ключ", `a"b`, `a\b`, strings.Repeat("k", 256), `"`} {
		req := h.request("PUT", "/v1/feeds/pub:bad/items/a", `1`, bearer(writerToken))
		req.Header["Idempotency-Key"] = []string{bad}
		h.wantProblem(h.send(req), http.StatusBadRequest, "bad_idempotency_key")
	}
	req := h.request("PUT", "/v1/feeds/pub:bad/items/a", `1`, bearer(writerToken))
	req.Header["Idempotency-Key"] = []string{"one", "two"}
	h.wantProblem(h.send(req), http.StatusBadRequest, "bad_idempotency_key")
	if head := h.head("pub:bad"); !head.IsZero() {
		t.Errorf("something was written: %s", head)
	}
	h.wantStatus(h.do("PUT", "/v1/feeds/pub:bad/items/a", `1`, bearer(writerToken), once(strings.Repeat("k", 255))), http.StatusOK)
}

// TestIdempotencyKeyRunning: who asks while the write is being done is told so, and how it went afterwards.
func TestIdempotencyKeyRunning(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	h := newHarness(t, func(o *api.Options) { o.Store = &held{Store: o.Store, began: began, goOn: goOn} })
	send := func() answer {
		return h.do("POST", "/v1/feeds/pub:a/touch", "", bearer(writerToken), once("k"))
	}
	first := make(chan answer, 1)
	go func() { first <- send() }()
	select {
	case <-began:
	case <-time.After(10 * time.Second):
		t.Fatal("the write doesn't begin")
	}
	busy := send()
	h.wantProblem(busy, http.StatusConflict, "idempotency_key_running")
	h.wantHeader(busy, "Retry-After", "1")
	close(goOn)
	done := <-first
	h.wantStatus(done, http.StatusOK)
	if again := send(); again.body != done.body {
		t.Errorf("%s, and afterwards %s", done.body, again.body)
	}
}

// held is a store whose first write with a name is held within its transaction.
type held struct {
	api.Store
	began, goOn chan struct{}
}

func (s *held) Append(ctx context.Context, name feed.Name, w store.Write) (store.Written, error) {
	answer := *w.Once
	w.Once = &answer
	render := w.Once.Answer
	w.Once.Answer = func(written store.Written, err error) []byte {
		close(s.began)
		<-s.goOn
		return render(written, err)
	}
	return s.Store.Append(ctx, name, w)
}
