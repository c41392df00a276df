package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestWriteAnswers(t *testing.T) {
	h := newHarness(t)
	w := bearer(writerToken)
	first := h.put("pub:a", "one", "1")
	epoch := first[:7]
	for _, tc := range []struct{ method, path, body, want string }{
		{"PUT", "/items/one", "1", `{"cursor":"` + epoch + `-2","first":2}`}, // an equal put is a change
		{"POST", "/changes", `{"changes":[{"key":"a","value":1},{"key":"b","value":2},{"key":"one","deleted":true}]}`, `{"cursor":"` + epoch + `-5","first":3}`},
		{"DELETE", "/items/a", "", `{"cursor":"` + epoch + `-6","first":6}`},
		{"DELETE", "/items/a", "", `{"cursor":"` + epoch + `-6","first":7}`}, // no change
		{"POST", "/touch", "", `{"cursor":"` + epoch + `-7","first":7}`},
		{"POST", "/touch", "{}", `{"cursor":"` + epoch + `-8","first":8}`},
	} {
		a := h.do(tc.method, "/v1/feeds/pub:a"+tc.path, tc.body, w)
		if a.StatusCode != http.StatusOK || a.body != tc.want {
			t.Errorf("%s %s: %d %s; want %s", tc.method, tc.path, a.StatusCode, a.body, tc.want)
		}
		heads, err := h.bus.Heads(t.Context(), []feed.Name{"pub:a"}, 0)
		if err != nil || heads[0] != bus.At(h.head("pub:a")) {
			t.Errorf("%s %s: the bus is at %v, %v", tc.method, tc.path, heads, err)
		}
	}
	if a := h.do("DELETE", "/v1/feeds/pub:none/items/a", "", w); a.StatusCode != http.StatusOK || a.body != `{"cursor":"","first":1}` {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestValuesComeBackByteForByte through every read, whatever they were written with.
func TestValuesComeBackByteForByte(t *testing.T) {
	h := newHarness(t)
	for i, value := range []string{
		`null`, `true`, `""`, `-0`, `1.0`, `1e2`, `1E+2`, `0.10`, `123456789012345678901234567890`, `1e400`,
		"{ \"b\" : 1 ,\r\n\t\"a\":  [ 1 , 2 ]  }", `"<script>&amp;</script>"`, `"\u003c\u0026\/"`, `"\u00e9 é 😀 \ud83d\ude00"`, `"\u0000"`,
		`"` + "\u2028\u2029" + `"`, strings.Repeat("[", 64) + strings.Repeat("]", 64),
	} {
		name := fmt.Sprint("pub:bytes", i)
		want := `"value":` + value + `}`
		h.write("PUT", "/v1/feeds/"+name+"/items/k", " \n"+value+"\t ")
		for _, path := range []string{"", "/changes", "/changes?since=0", "/items/k"} {
			if a := h.get("/v1/feeds/" + name + path); !strings.Contains(a.body, want) {
				t.Errorf("%s put, %s gives %s", value, path, a.body)
			}
		}
		h.write("POST", "/v1/feeds/"+name+"/changes", `{"changes":[{"value":  `+value+"\n"+`,"key":"k"}]}`)
		if a := h.get("/v1/feeds/" + name + "/changes?since=1"); !strings.Contains(a.body, want) {
			t.Errorf("%s posted gives %s", value, a.body)
		}
	}
}

func TestKeysInPaths(t *testing.T) {
	h := newHarness(t)
	for path, key := range map[string]string{
		"plain":                  "plain",
		"a%2Fb":                  "a/b",
		"a%2fb%2F":               "a/b/",
		"%2F":                    "/",
		"a%252Fb":                "a%2Fb", // escaped once, unescaped once
		"a%25b":                  "a%b",
		"100%25":                 "100%",
		"a+b":                    "a+b",
		"a%2Bb":                  "a+b",
		"a%20b":                  "a b",
		"%C3%A9%F0%9F%98%80":     "é😀",
		"é":                      "é",
		"a%3Fb%23c":              "a?b#c",
		"a%2F..%2Fb":             "a/../b",
		"%2E%2E%2E":              "...",
		".a":                     ".a",
		"a;b=c,d":                "a;b=c,d",
		"a%22%5C%3C%3E%26b":      `a"\<>&b`,
		"changes":                "changes",
		strings.Repeat("k", 256): strings.Repeat("k", 256),
	} {
		name := "pub:keys"
		h.write("PUT", "/v1/feeds/"+name+"/items/"+path, `"`+path+`"`)
		item, err := h.store.Item(t.Context(), feed.Name(name), key)
		if err != nil {
			t.Errorf("%s is not %q: %v", path, key, err)
			continue
		}
		a := h.get("/v1/feeds/" + name + "/items/" + path)
		if a.StatusCode != http.StatusOK || a.member(h, "key") != key || a.member(h, "value") != path {
			t.Errorf("%s reads as %d %s", path, a.StatusCode, a.body)
		}
		since := item.Cursor
		since.Seq--
		if a := h.get("/v1/feeds/" + name + "/changes?since=" + since.String()); a.object(h)["changes"].([]any)[0].(map[string]any)["key"] != key {
			t.Errorf("%s in a delta: %s", path, a.body)
		}
		h.write("DELETE", "/v1/feeds/"+name+"/items/"+path, "")
		h.wantProblem(h.get("/v1/feeds/"+name+"/items/"+path), 404, "no_item")
	}
	// A name's ':' may be escaped, too.
	h.wantStatus(h.get("/v1/feeds/pub%3Akeys"), 200)
}

func TestConditionalWrites(t *testing.T) {
	h := newHarness(t)
	w := bearer(writerToken)
	one := h.put("pub:a", "one", "1")
	head := h.put("pub:a", "two", "2")
	base := "/v1/feeds/pub:a"
	for name, tc := range map[string]struct {
		method, target, body string
		header               header
		current, key         string
	}{
		"put, other cursor":    {"PUT", base + "/items/one", "3", header{"If-Match": `"` + head + `"`}, one, "one"},
		"put, must not exist":  {"PUT", base + "/items/one", "3", header{"If-None-Match": "*"}, one, "one"},
		"put, must not exist ": {"PUT", base + "/items/one", "3", header{"If-Match": `""`}, one, "one"},
		"put, must exist":      {"PUT", base + "/items/none", "3", header{"If-Match": `"` + head + `"`}, "", "none"},
		"delete":               {"DELETE", base + "/items/one", "", header{"If-Match": `"` + head + `"`}, one, "one"},
		"batch on the feed":    {"POST", base + "/changes", `{"changes":[{"key":"x","value":1}]}`, header{"If-Match": `"` + one + `"`}, head, ""},
		"batch, new feed only": {"POST", base + "/changes", `{"changes":[{"key":"x","value":1}]}`, header{"If-Match": `""`}, head, ""},
		"batch on an item":     {"POST", base + "/changes", `{"changes":[{"key":"x","value":1},{"key":"one","value":1,"if":"` + head + `"}]}`, nil, one, "one"},
		"batch, new item only": {"POST", base + "/changes", `{"changes":[{"key":"x","value":1},{"key":"one","value":1,"if":""}]}`, nil, one, "one"},
		"touch":                {"POST", base + "/touch", "", header{"If-Match": `"` + one + `"`}, head, ""},
		"drop":                 {"DELETE", base, "", header{"If-Match": `"` + one + `"`}, head, ""},
		"no such feed":         {"POST", "/v1/feeds/pub:none/touch", "", header{"If-Match": `"` + one + `"`}, "", ""},
	} {
		m := h.wantProblem(h.do(tc.method, tc.target, tc.body, tc.header, w), 412, "precondition_failed")
		key, _ := m["key"].(string)
		if m["current"] != tc.current || key != tc.key {
			t.Errorf("%s: %v", name, m)
		}
		if h.head("pub:a").String() != head {
			t.Fatalf("%s: something was written", name)
		}
	}
	for name, tc := range map[string]struct {
		method, target, body string
		header               header
	}{
		"weak":                 {"PUT", base + "/items/one", "3", header{"If-Match": `W/"` + one + `"`}},
		"unquoted":             {"PUT", base + "/items/one", "3", header{"If-Match": one}},
		"star":                 {"PUT", base + "/items/one", "3", header{"If-Match": "*"}},
		"list":                 {"PUT", base + "/items/one", "3", header{"If-Match": `"` + one + `", "` + head + `"`}},
		"not a cursor":         {"PUT", base + "/items/one", "3", header{"If-Match": `"x"`}},
		"walk cursor":          {"POST", base + "/touch", "", header{"If-Match": `"` + one + `~2"`}},
		"one quote":            {"POST", base + "/touch", "", header{"If-Match": `"`}},
		"both":                 {"PUT", base + "/items/one", "3", header{"If-Match": `"` + one + `"`, "If-None-Match": "*"}},
		"If-None-Match, a tag": {"PUT", base + "/items/one", "3", header{"If-None-Match": `"` + one + `"`}},
		"If-None-Match, batch": {"POST", base + "/changes", `{"changes":[{"key":"x","value":1}]}`, header{"If-None-Match": "*"}},
		"If-None-Match, drop":  {"DELETE", base, "", header{"If-None-Match": "*"}},
		"drop whatever":        {"DELETE", base, "", header{"If-Match": "*"}},
	} {
		h.wantProblem(h.do(tc.method, tc.target, tc.body, tc.header, w), 400, "bad_precondition")
		if h.head("pub:a").String() != head {
			t.Fatalf("%s: something was written", name)
		}
	}
	h.wantProblem(h.do("DELETE", base, "", w), 428, "if_match_required")

	// And those that hold.
	two := h.write("PUT", base+"/items/one", "3", header{"If-Match": `"` + one + `"`})
	h.write("PUT", base+"/items/new", "3", header{"If-None-Match": "*"})
	h.write("DELETE", base+"/items/one", "", header{"If-Match": `"` + two + `"`})
	h.write("PUT", base+"/items/one", "4", header{"If-None-Match": "*"}) // a deleted item doesn't exist
	now := h.write("POST", base+"/touch", "", header{"If-Match": `"` + h.head("pub:a").String() + `"`})
	now = h.write("POST", base+"/changes", `{"changes":[{"key":"y","value":1,"if":""}]}`, header{"If-Match": `"` + now + `"`})
	h.write("POST", "/v1/feeds/pub:born/touch", "", header{"If-Match": `""`})
	h.write("DELETE", base, "", header{"If-Match": `"` + now + `"`})
}

func TestDropAndRebirth(t *testing.T) {
	h := newHarness(t)
	head := h.put("pub:a", "one", "1")
	born := h.write("DELETE", "/v1/feeds/pub:a", "", header{"If-Match": `"` + head + `"`})
	if got := h.get("/v1/heads?feed=pub:a").body; got != `{"heads":{"pub:a":"`+born+`"}}` {
		t.Errorf("a drop is signalled as %s", got)
	}
	// The old version is no answer any more, nor its tag.
	a := h.get("/v1/feeds/pub:a?at_least="+born, header{"If-None-Match": `W/"` + head + `"`})
	h.wantStatus(a, 200)
	h.wantHeader(a, "Doorbell-Cursor", born)
	next := h.put("pub:a", "two", "2")
	if next != born[:7]+"-1" {
		t.Errorf("reborn as %s, goes on at %s", born, next)
	}
	h.wantProblem(h.do("DELETE", "/v1/feeds/pub:none", "", bearer(writerToken), header{"If-Match": `"` + head + `"`}), 404, "no_feed")
}

// TestFailedPublish: the write is done and says so.
func TestFailedPublish(t *testing.T) {
	h := newHarness(t)
	h.bus.losePublishes()
	if cursor := h.put("pub:a", "one", "1"); cursor != h.head("pub:a").String() {
		t.Errorf("answered %s", cursor)
	}
	if !strings.Contains(h.log.String(), "could not be signalled") {
		t.Error("nothing was logged")
	}
	h.put("pub:a", "two", "2")
	if n := strings.Count(h.log.String(), "could not be signalled"); n != 1 {
		t.Errorf("logged %d times; want once as long as it lasts", n)
	}
}

// TestHangingPublish: the answer waits for the bus for so long, and no longer.
func TestHangingPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.bus.set(false, func(ctx context.Context, _ feed.Name, _ feed.Cursor) error {
			<-ctx.Done()
			return ctx.Err()
		})
		begin := time.Now()
		h.put("pub:a", "one", "1")
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestClientLeavesDuringWrite: what is committed is signalled, even though nobody hears the answer.
func TestClientLeavesDuringWrite(t *testing.T) {
	h := newHarness(t)
	ctx, leave := context.WithCancel(t.Context())
	h.store.before(func(ctx context.Context, op string) error {
		leave()
		return ctx.Err()
	})
	published := false
	h.bus.set(false, func(ctx context.Context, name feed.Name, c feed.Cursor) error {
		published = ctx.Err() == nil && c == h.head("pub:a")
		return ctx.Err()
	})
	req := h.request("PUT", "/v1/feeds/pub:a/items/one", "1", bearer(writerToken)).WithContext(ctx)
	h.api.Handler().ServeHTTP(httptest.NewRecorder(), req)
	if h.head("pub:a").IsZero() || !published {
		t.Errorf("head %s, published: %v", h.head("pub:a"), published)
	}
}

func TestPanics(t *testing.T) {
	h := newHarness(t)
	head := h.put("pub:a", "one", "1")
	h.store.before(func(context.Context, string) error { panic("the secret is hunter2") })
	w := bearer(writerToken)
	for _, a := range []answer{
		h.get("/v1/feeds/pub:a"), h.get("/v1/feeds/pub:a?at_least=" + head), h.get("/v1/feeds/pub:a/items/one"),
		h.do("PUT", "/v1/feeds/pub:a/items/one", "2", w), h.do("POST", "/v1/feeds/pub:a/touch", "", w),
	} {
		h.wantProblem(a, 500, "internal")
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("the panic is told: %s", a.body)
		}
	}
	if log := h.log.String(); !strings.Contains(log, "hunter2") || !strings.Contains(log, "writes_test.go") {
		t.Error("the panic or its stack isn't logged")
	}
	h.store.before(nil)
	h.wantStatus(h.get("/v1/feeds/pub:a"), 200)

	h.store.before(func(context.Context, string) error { panic(http.ErrAbortHandler) })
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // it is that very value
			t.Errorf("recovered %v", p)
		}
	}()
	h.do("POST", "/v1/feeds/pub:a/touch", "", w)
}

// TestPanicWhileWaiting: the question that others wait for panics.
func TestPanicWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.put("pub:a", "one", "1")
		var questions atomic.Int64
		h.store.before(func(context.Context, string) error {
			if questions.Add(1) > 1 {
				panic("oops")
			}
			return nil
		})
		h.wantProblem(h.get("/v1/feeds/pub:a?at_least=2"), 503, "behind")
		if n := questions.Load(); n != 2 {
			t.Errorf("%d questions; want one, and a last one", n)
		}
		h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
	})
}
