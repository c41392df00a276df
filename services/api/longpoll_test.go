package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// publish signals what the store has, as another instance would have.
func (h *harness) publish(name string) {
	h.Helper()
	if err := h.bus.Publish(context.Background(), feed.Name(name), h.head(name)); err != nil {
		h.Fatal(err)
	}
}

// wantWait checks that it took until the end of a wait of that many seconds: never longer, hardly shorter.
func (h *harness) wantWait(begin time.Time, seconds int) {
	h.Helper()
	wait := time.Duration(seconds) * time.Second
	if took := time.Since(begin); took > wait || took < wait-150*time.Millisecond {
		h.Errorf("it took %s; want %s", took, wait)
	}
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		older := head[:7] + "-0"
		// News: at once.
		for _, query := range []string{"?wait=20", "?since=" + older + "&wait=20s", "?since=0&wait=30"} {
			begin := time.Now()
			a := h.get("/v1/feeds/pub:a/changes" + query)
			h.wantStatus(a, 200)
			h.wantWait(begin, 0)
			h.wantHeader(a, "Cache-Control", "no-store")
		}
		// None: at the end, and then as without waiting.
		begin := time.Now()
		a := h.get("/v1/feeds/pub:a/changes?since=" + head + "&wait=20")
		h.wantStatus(a, 200)
		h.wantWait(begin, 20)
		if !strings.HasSuffix(a.body, `"changes":[]}`) {
			t.Errorf("%s", a.body)
		}
		begin = time.Now()
		h.wantStatus(h.get("/v1/feeds/pub:a/changes?since="+head+"&wait=3", header{"If-None-Match": a.Header.Get("ETag")}), 304)
		h.wantWait(begin, 3)
		begin = time.Now()
		h.wantStatus(h.get("/v1/feeds/pub:a/changes?since="+head+"&wait=0"), 200)
		h.wantWait(begin, 0)
		// A feed that isn't there yet.
		begin = time.Now()
		h.wantProblem(h.get("/v1/feeds/pub:b/changes?wait=2s"), 404, "no_feed")
		h.wantWait(begin, 2)
		if n := h.api.Polling(); n != 0 {
			t.Errorf("%d wait still", n)
		}
	})
}

// TestLongPollsAreWoken by signals, all of one feed for one question to the store, by touches, births and drops as well.
func TestLongPollsAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		for _, tc := range []struct {
			name   string
			target func() string
			change func()
			status int
		}{
			{"change", func() string { return "pub:a/changes?since=" + head }, func() { head = h.appendDirectly("pub:a", "two", "2").String(); h.publish("pub:a") }, 200},
			{"bare", func() string { return "pub:a/changes?since=" + head[8:] }, func() { head = h.appendDirectly("pub:a", "two", "2").String(); h.publish("pub:a") }, 200},
			{"own", func() string { return "pub:a/changes?since=" + head }, func() { head = h.put("pub:a", "two", "2") }, 200},
			{"touch", func() string { return "pub:a/changes?since=" + head }, func() { head = h.write("POST", "/v1/feeds/pub:a/touch", "") }, 200},
			{"drop", func() string { return "pub:a/changes?since=" + head }, func() { head = h.write("DELETE", "/v1/feeds/pub:a", "", header{"If-Match": `"` + head + `"`}) }, 410},
			{"birth", func() string { return "pub:new/changes?x=1" }, func() { h.appendDirectly("pub:new", "two", "2"); h.publish("pub:new") }, 200},
		} {
			func() {
				target := "/v1/feeds/" + tc.target() + "&wait=20"
				begin := time.Now()
				var wg sync.WaitGroup
				for range 40 {
					wg.Go(func() {
						if a := h.get(target); a.StatusCode != tc.status || a.Header.Get("Cache-Control") != "no-store" {
							t.Errorf("%s: %d %s", tc.name, a.StatusCode, a.body)
						}
					})
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if n := h.api.Polling(); n != 40 {
					t.Errorf("%s: %d wait; want 40", tc.name, n)
				}
				h.store.reset()
				tc.change()
				wg.Wait()
				if took := time.Since(begin); took != 5*time.Second {
					t.Errorf("%s: answered after %s; want at once, 5s", tc.name, took)
				}
				if n := h.store.count("delta"); n > 3 { // a drop is a reset, and asked for once more
					t.Errorf("%s: the store was asked %d times for 40", tc.name, n)
				}
			}()
		}
	})
}

func TestLongPollWithFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		begin := time.Now()
		h.wantProblem(h.get("/v1/feeds/pub:a/changes?since="+head+"&wait=20&at_least="+head[:7]+"-5"), 503, "behind")
		h.wantWait(begin, 2)
	})
}

// TestLongPollsDrain: new ones are sent elsewhere at once, those that wait at the end.
func TestLongPollsDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		target := "/v1/feeds/pub:a/changes?since=" + head + "&wait=20"
		wantAway := func(a answer) {
			h.wantStatus(a, 200)
			h.wantHeader(a, "Doorbell-Poll-After", "0")
			h.wantHeader(a, "Connection", "close")
		}
		begin := time.Now()
		var early, batch answer
		var wg sync.WaitGroup
		wg.Go(func() { early = h.get(target) })
		wg.Go(func() { batch = h.do("POST", "/v1/poll", `{"feeds":{"pub:a":"`+head+`"},"wait":"20s"}`) })
		time.Sleep(time.Second)
		h.api.Drain()
		wantAway(h.get(target))
		wantAway(h.do("POST", "/v1/poll", `{"feeds":{"pub:a":"`+head+`"},"wait":"20s"}`))
		h.wantHeader(h.get("/v1/feeds/pub:a"), "Connection", "")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := h.api.Polling(); n != 2 {
			t.Errorf("%d wait; want 2", n)
		}
		h.store.reset()
		h.bus.set(true, nil) // nor does the bus tell any more that nothing is new
		h.api.Close()
		wg.Wait()
		h.wantWait(begin, 4)
		if n := h.store.count(""); n != 0 {
			t.Errorf("the store was asked %d times for those that waited", n)
		}
		for _, target := range []string{"?wait=20", "?since=" + head[:8] + "99&wait=20"} { // what isn't there, and a reset
			h.wantHeader(h.get("/v1/feeds/pub:none/changes"+target), "Connection", "close")
		}
		wantAway(early)
		wantAway(batch)
		wantAway(h.get(target))
	})
}

func TestLongPollerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			req := h.request("GET", "/v1/feeds/pub:a/changes?wait=20&since="+head, "").WithContext(ctx)
			h.api.Handler().ServeHTTP(httptest.NewRecorder(), req)
		})
		time.Sleep(time.Second)
		leave()
		begin := time.Now()
		wg.Wait()
		h.wantWait(begin, 0)
	})
}

func TestBadWaits(t *testing.T) {
	h := newHarness(t)
	head := h.put("pub:a", "one", "1")
	for _, wait := range []string{"9999", "31", "-1", "-20s", "20ms", "1.5", "", "s", "020", "1m", "99999999999999999999", "+5"} {
		m := h.wantProblem(h.get("/v1/feeds/pub:a/changes?since="+head+"&wait="+wait), 400, "bad_wait")
		if !strings.Contains(fmt.Sprint(m["detail"]), "0 to 30") {
			t.Errorf("%s: %v", wait, m["detail"])
		}
		h.wantProblem(h.do("POST", "/v1/poll", `{"feeds":{"pub:a":""},"wait":"`+wait+`"}`), 400, "bad_wait")
	}
	h.wantProblem(h.get("/v1/feeds/pub:a/changes?wait=1&wait=1"), 400, "repeated_parameter")
	h.wantStatus(h.get("/v1/feeds/pub:a?wait=9999"), 200) // not a parameter there
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		poll := func(body string, headers ...header) answer {
			h.Helper()
			a := h.do("POST", "/v1/poll", body, headers...)
			h.wantStatus(a, 200)
			h.wantHeader(a, "Cache-Control", "no-store")
			return a
		}
		a1 := h.put("pub:a", "one", "1")
		a2 := h.put("pub:a", "two", "2")
		b1 := h.put("pub:b", "one", "1")
		h.put("inbox:7", "one", "1")
		begin := time.Now()
		got := poll(`{"feeds":{"pub:a":"`+a1+`","pub:b":"`+b1+`","inbox:7":"","inbox:8":"","pub:none":""},"wait":"20s"}`, bearer(readerToken)).object(h)["feeds"].(map[string]any)
		h.wantWait(begin, 0)
		if len(got) != 4 {
			t.Errorf("%v", got)
		}
		for name, want := range map[string]string{"pub:a": a2, "inbox:7": h.head("inbox:7").String()} {
			if one := got[name].(map[string]any); one["cursor"] != want || one["feed"] != name {
				t.Errorf("%s: %v", name, one)
			}
		}
		for name, want := range map[string]string{"inbox:8": "forbidden", "pub:none": "no_feed"} {
			if one := got[name].(map[string]any); one["code"] != want {
				t.Errorf("%s: %v", name, one)
			}
		}
		// Nothing moved: problems that stay don't end the wait.
		quiet := `{"feeds":{"pub:a":"` + a2 + `","pub:b":"` + b1 + `","inbox:8":"","pub:none":""},"wait":"20s","limit":500}`
		begin = time.Now()
		got = poll(quiet, bearer(readerToken)).object(h)["feeds"].(map[string]any)
		h.wantWait(begin, 20)
		if len(got) != 2 {
			t.Errorf("%v", got)
		}
		// One moves, or is born.
		for name, since := range map[string]string{"pub:b": b1, "pub:none": ""} {
			var wg sync.WaitGroup
			begin = time.Now()
			var a answer
			wg.Go(func() { a = poll(`{"feeds":{"pub:a":"` + a2 + `","` + name + `":"` + since + `"},"wait":"20s"}`) })
			time.Sleep(4 * time.Second)
			h.appendDirectly(name, "one", "2")
			h.publish(name)
			wg.Wait()
			h.wantWait(begin, 4)
			if one := a.object(h)["feeds"].(map[string]any)[name].(map[string]any); one["cursor"] != h.head(name).String() {
				t.Errorf("%v", one)
			}
		}
		// A reset ends it.
		begin = time.Now()
		got = poll(`{"feeds":{"pub:a":"0000001-5"},"wait":20}`).object(h)["feeds"].(map[string]any)
		h.wantWait(begin, 0)
		if one := got["pub:a"].(map[string]any); one["code"] != "reset" || one["snapshot"] != "/v1/feeds/pub:a?at_least="+a2 {
			t.Errorf("%v", one)
		}
		// A page.
		got = poll(`{"feeds":{"pub:a":""},"limit":1}`).object(h)["feeds"].(map[string]any)
		if one := got["pub:a"].(map[string]any); one["more"] != true || one["cursor"] != a1+"~2" {
			t.Errorf("%v", one)
		}
	})
}

// TestPollAsksNoStore for feeds that haven't moved, also when they were never read here.
func TestPollAsksNoStore(t *testing.T) {
	h := newHarness(t)
	feeds := make([]string, 1000)
	for i := range feeds {
		name := fmt.Sprint("pub:", i)
		feeds[i] = fmt.Sprintf(`%q:%q`, name, h.appendDirectly(name, "one", "1"))
		h.publish(name)
	}
	h.store.reset()
	a := h.do("POST", "/v1/poll", `{"feeds":{`+strings.Join(feeds, ",")+`}}`)
	h.wantStatus(a, 200)
	if a.body != `{"feeds":{}}` || h.store.count("") != 0 {
		t.Errorf("%s for %d questions", a.body, h.store.count(""))
	}
}

func TestBadPolls(t *testing.T) {
	h := newHarness(t)
	many := make([]string, 100_000)
	for i := range many {
		many[i] = fmt.Sprintf(`"p:%d":""`, i)
	}
	for body, code := range map[string]string{
		`{}`:                                                 "no_feeds",
		`{"feeds":{}}`:                                       "no_feeds",
		`{"feeds":[]}`:                                       "bad_body",
		`{"feeds":{"A":""}}`:                                 "bad_feed",
		`{"feeds":{"a":1}}`:                                  "bad_body",
		`{"feeds":{"a":"5"}}`:                                "bad_cursor",
		`{"feeds":{"a":"","a":""}}`:                          "duplicate_key",
		`{"feeds":{"a":""},"limit":0}`:                       "bad_limit",
		`{"feeds":{"a":""},"limit":10001}`:                   "bad_limit",
		`{"feeds":{"a":""},"limit":1e3}`:                     "bad_limit",
		`{"feeds":{"a":""},"limit":null}`:                    "bad_body",
		`{"feeds":{"a":""},"wait":[]}`:                       "bad_body",
		`{"feeds":{"a":""},"at_least":"a"}`:                  "unknown_field",
		`{"feeds":{"a":""}`:                                  "malformed_json",
		`{"feeds":{` + strings.Join(many[:1001], ",") + `}}`: "too_many_feeds",
	} {
		h.wantProblem(h.do("POST", "/v1/poll", body), 400, code)
	}
	h.wantProblem(h.do("POST", "/v1/poll", `{"feeds":{`+strings.Join(many, ",")+`}}`), 413, "too_large")
	h.wantProblem(h.get("/v1/poll"), 405, "method_not_allowed")
	h.wantStatus(h.do("POST", "/v1/poll", `{"feeds":{`+strings.Join(many[:1000], ",")+`}}`), http.StatusOK)
}
