package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestHeads(t *testing.T) {
	h := newHarness(t)
	a, b := h.put("pub:a", "one", "1"), h.put("pub:b", "one", "1")
	if err := h.bus.Publish(t.Context(), "pub:gone", feed.Cursor{}); err != nil {
		t.Fatal(err)
	}
	h.store.reset()
	want := fmt.Sprintf(`{"heads":{"pub:b":"%s","pub:gone":"","pub:new":null,"pub:a":"%s"}}`, b, a)
	for _, got := range []answer{
		h.get("/v1/heads?feed=pub:b&feed=pub:gone&feed=pub:new&feed=pub:b&feed=pub:a&x=1"),
		h.do("POST", "/v1/heads", `{"feeds":["pub:b","pub:gone","pub:b","pub:new","pub:a"]}`),
	} {
		h.wantStatus(got, 200)
		if got.body != want {
			t.Errorf("got  %s\nwant %s", got.body, want)
		}
	}
	if n := h.store.count(""); n != 0 {
		t.Errorf("heads asked the store %d times", n)
	}
	h.bus.set(true, nil)
	if got := h.get("/v1/heads?feed=pub:a"); got.body != `{"heads":{"pub:a":null}}` {
		t.Errorf("a dead bus was believed: %s", got.body)
	}
}

func TestHeadsAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		stop := h.bus.Answer(func(ctx context.Context, names []feed.Name) {
			time.Sleep(400 * time.Millisecond)
			for _, name := range names {
				if name == "pub:slow" {
					continue
				}
				_ = h.bus.Publish(ctx, name, feed.Cursor{Epoch: 1, Seq: 5})
			}
		})
		defer stop()
		begin := time.Now()
		if got := h.get("/v1/heads?feed=pub:a"); got.body != `{"heads":{"pub:a":"0000001-5"}}` {
			t.Errorf("%s", got.body)
		}
		if got := h.get("/v1/heads?feed=pub:slow"); got.body != `{"heads":{"pub:slow":null}}` {
			t.Errorf("%s", got.body)
		}
		if took := time.Since(begin); took != 900*time.Millisecond {
			t.Errorf("took %s; want 400ms, then 500ms", took)
		}
	})
}

func TestHeadsOfPrivateFeeds(t *testing.T) {
	h := newHarness(t)
	m := h.wantProblem(h.get("/v1/heads?feed=pub:a&feed=inbox:7&feed=inbox:8"), 401, "unauthorized")
	if fmt.Sprint(m["feeds"]) != "[inbox:7 inbox:8]" {
		t.Errorf("names %v", m["feeds"])
	}
	m = h.wantProblem(h.get("/v1/heads?feed=pub:a&feed=inbox:7&feed=inbox:8", bearer(readerToken)), 403, "forbidden")
	if fmt.Sprint(m["feeds"]) != "[inbox:8]" {
		t.Errorf("names %v", m["feeds"])
	}
	h.wantStatus(h.get("/v1/heads?feed=pub:a&feed=inbox:7", bearer(readerToken)), 200)
	h.wantStatus(h.get("/v1/heads?feed=pub:a", bearer("nonsense")), 200)
}

func TestBadHeads(t *testing.T) {
	h := newHarness(t)
	names := make([]string, 1001)
	for i := range names {
		names[i] = fmt.Sprint("pub:", i)
	}
	list := func(n int) string { return `{"feeds":["` + strings.Join(names[:n], `","`) + `"]}` }
	h.wantStatus(h.do("POST", "/v1/heads", list(1000)), 200)
	h.wantStatus(h.get("/v1/heads?feed="+strings.Join(names[:1000], "&feed=")), 200)
	h.wantProblem(h.get("/v1/heads?feed="+strings.Join(names, "&feed=")), 400, "too_many_feeds")
	h.wantProblem(h.do("POST", "/v1/heads", list(1001)), 400, "too_many_feeds")
	h.wantProblem(h.get("/v1/heads"), 400, "no_feeds")
	h.wantProblem(h.get("/v1/heads?feed="), 400, "bad_feed")
	h.wantProblem(h.get("/v1/heads?feed=A"), 400, "bad_feed")
	h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":[]}`), 400, "no_feeds")
	h.wantProblem(h.do("POST", "/v1/heads", `{}`), 400, "no_feeds")
	if m := h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":["pub:a","A"]}`), 400, "bad_feed"); m["where"] != "feeds[1]" {
		t.Errorf("where is %v", m["where"])
	}
	h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":["pub:a",1]}`), 400, "bad_body")
	h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":["pub:a"],"wait":1}`), 400, "unknown_field")
	h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":["pub:a"]`), 400, "malformed_json")
	h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":["pub:a"]}`, header{"Content-Type": "text/plain"}), 415, "unsupported_media_type")
	h.wantProblem(h.do("POST", "/v1/heads", `{"feeds":["`+strings.Repeat("x", 600<<10)+`"]}`), 413, "too_large")
}
