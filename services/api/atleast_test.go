package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// waitFor lets reads wait for that many milliseconds.
func waitFor(ms int) option {
	return func(o *api.Options) { o.AtLeastWait = time.Duration(ms) * time.Millisecond }
}

// appendDirectly writes to the store past the API, so that nothing is published.
func (h *harness) appendDirectly(name, key, value string) feed.Cursor {
	h.Helper()
	w, err := h.store.Store.Append(context.Background(), feed.Name(name), store.Write{
		Edits: []feed.Edit{{Key: key, Value: []byte(value)}},
	})
	if err != nil {
		h.Fatal(err)
	}
	return w.Cursor
}

func TestFloorThatIsMet(t *testing.T) {
	h := newHarness(t)
	old := h.put("pub:a", "one", "1")
	head := h.put("pub:a", "two", "2")
	for _, floor := range []string{old, head, "0", "1", "2"} {
		for _, path := range []string{"/v1/feeds/pub:a?", "/v1/feeds/pub:a/changes?since=" + old + "&"} {
			a := h.get(path + "at_least=" + floor)
			h.wantStatus(a, 200)
			h.wantHeader(a, "Doorbell-Cursor", head)
		}
	}
	// A floor of an epoch long past is met by any later one.
	born := h.write("DELETE", "/v1/feeds/pub:a", "", header{"If-Match": `"` + head + `"`})
	h.wantHeader(h.get("/v1/feeds/pub:a?at_least="+head), "Doorbell-Cursor", born)
}

// TestBehindAfterTwoSeconds runs on a clock of its own: two seconds, neither sooner nor later.
func TestBehindAfterTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		newer := feed.Cursor{Epoch: h.head("pub:a").Epoch + 1, Seq: 0}.String()
		for name, target := range map[string]string{
			"ahead":                "/v1/feeds/pub:a?at_least=" + head[:7] + "-2",
			"bare, ahead":          "/v1/feeds/pub:a?at_least=2",
			"newer epoch":          "/v1/feeds/pub:a?at_least=" + newer,
			"delta":                "/v1/feeds/pub:a/changes?since=" + head + "&at_least=" + head[:7] + "-2",
			"reset of a newer one": "/v1/feeds/pub:a/changes?since=" + newer + "&at_least=" + newer,
			"no such feed":         "/v1/feeds/pub:none?at_least=" + head,
		} {
			begin := time.Now()
			a := h.get(target)
			h.wantProblem(a, 503, "behind")
			h.wantHeader(a, "Retry-After", "1")
			if took := time.Since(begin); took != 2*time.Second {
				t.Errorf("%s: 503 after %s", name, took)
			}
			if n := h.api.Waiting(); n != 0 {
				t.Errorf("%s: %d wait still", name, n)
			}
		}
		h.wantProblem(h.get("/v1/feeds/pub:none?at_least=0"), 404, "no_feed")
	})
}

// TestServedAsSoonAsSignalled: 50 wait for one change; the moment it is signalled all are answered, for one question to
// the store.
func TestServedAsSoonAsSignalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		next := head[:7] + "-2"
		begin := time.Now()
		answers := make([]answer, 50)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = h.get("/v1/feeds/pub:a/changes?since=" + head + "&at_least=" + next) })
		}
		time.Sleep(700 * time.Millisecond) // of the test's clock: all wait now
		synctest.Wait()
		if n := h.api.Waiting(); n != len(answers) {
			t.Fatalf("%d wait; want %d", n, len(answers))
		}
		h.appendDirectly("pub:a", "two", "2")
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if n := h.api.Waiting(); n != len(answers) {
			t.Fatalf("%d wait; want %d: the store was polled", n, len(answers))
		}
		h.store.reset()
		if err := h.bus.Publish(t.Context(), "pub:a", h.head("pub:a")); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("answered after %s; want as soon as signalled, 1s", took)
		}
		for _, a := range answers {
			h.wantStatus(a, 200)
			h.wantHeader(a, "Doorbell-Cursor", next)
			h.wantHeader(a, "Cache-Control", "public, max-age=3600, immutable")
		}
		if n := h.store.count(""); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}
	})
}

// TestLostSignal: the bus never says anything, so that one question at the end decides.
func TestLostSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		begin := time.Now()
		var a answer
		var wg sync.WaitGroup
		wg.Go(func() { a = h.get("/v1/feeds/pub:a?at_least=" + head[:7] + "-2") })
		time.Sleep(time.Second)
		h.appendDirectly("pub:a", "two", "2")
		wg.Wait()
		h.wantStatus(a, 200)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("served after %s", took)
		}
	})
}

// TestQuestionIsNewerThanSignal: a question is under way, with an answer from before, when the signal comes.
func TestQuestionIsNewerThanSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		before := h.head("pub:a")
		at := func(seq int64) feed.Cursor { return feed.Cursor{Epoch: before.Epoch, Seq: seq} }
		hold := make(chan struct{})
		questions := 0
		ask := func(context.Context, string) error {
			if questions++; questions == 1 {
				<-hold
				return fmt.Errorf("lost: %w", errUnavailable)
			}
			return nil
		}
		var a answer
		var wg sync.WaitGroup
		wg.Go(func() { a = h.get("/v1/feeds/pub:a?at_least=" + head[:7] + "-2") })
		time.Sleep(10 * time.Millisecond)
		synctest.Wait() // it waits
		h.store.before(ask)
		if err := h.bus.Publish(t.Context(), "pub:a", at(2)); err != nil { // ahead of the store
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait() // the question is being asked
		h.appendDirectly("pub:a", "two", "2")
		if err := h.bus.Publish(t.Context(), "pub:a", at(2)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		close(hold)
		begin := time.Now()
		wg.Wait()
		h.wantStatus(a, 200)
		if took := time.Since(begin); took != 0 {
			t.Errorf("served %s after the question; the later signal was taken for answered", took)
		}
		if questions != 2 {
			t.Errorf("%d questions; want 2", questions)
		}
	})
}

// TestSharedReadIsNewerThanSignal: an equal read is under way, with an answer from before, when the signal comes.
func TestSharedReadIsNewerThanSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		target := "/v1/feeds/pub:a?at_least=" + head[:7]
		var late, early answer
		var wg sync.WaitGroup
		wg.Go(func() { late = h.get(target + "-2") })
		time.Sleep(10 * time.Millisecond) // it waits

		hold := make(chan struct{})
		var held atomic.Bool
		h.store.mu.Lock()
		h.store.after = func(string) {
			if held.CompareAndSwap(false, true) {
				<-hold
			}
		}
		h.store.mu.Unlock()
		wg.Go(func() { early = h.get(target + "-1") })
		time.Sleep(10 * time.Millisecond)
		synctest.Wait() // it has read, and isn't told yet

		h.put("pub:a", "two", "2")
		time.Sleep(10 * time.Millisecond)
		close(hold)
		wg.Wait()
		h.wantHeader(early, "Doorbell-Cursor", head)
		h.wantStatus(late, 200)
		h.wantHeader(late, "Doorbell-Cursor", head[:7]+"-2")
	})
}

func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(o *api.Options) { o.MaxWaiting = 3 })
		head := h.put("pub:a", "one", "1")
		h.put("pub:b", "one", "1")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { h.wantProblem(h.get("/v1/feeds/pub:a?at_least="+head[:7]+"-2"), 503, "behind") })
		}
		time.Sleep(time.Second)
		begin := time.Now()
		h.wantProblem(h.get("/v1/feeds/pub:b?at_least=2"), 503, "behind")
		if took := time.Since(begin); took != 0 {
			t.Errorf("one too many waited for %s", took)
		}
		h.wantStatus(h.get("/v1/feeds/pub:a?at_least=1"), 200)
		wg.Wait()
	})
}

func TestClientThatLeavesWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			req := h.request("GET", "/v1/feeds/pub:a?at_least="+head[:7]+"-2", "").WithContext(ctx)
			h.api.Handler().ServeHTTP(httptest.NewRecorder(), req)
		})
		time.Sleep(time.Second)
		leave()
		begin := time.Now()
		wg.Wait()
		if time.Since(begin) != 0 || h.api.Waiting() != 0 {
			t.Error("it waits still")
		}
	})
}

func TestCloseEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		head := h.put("pub:a", "one", "1")
		var a answer
		var wg sync.WaitGroup
		wg.Go(func() { a = h.get("/v1/feeds/pub:a?at_least=" + head[:7] + "-2") })
		time.Sleep(time.Second)
		begin := time.Now()
		h.api.Close()
		h.api.Close()
		wg.Wait()
		h.wantProblem(a, 503, "unavailable")
		h.wantProblem(h.get("/v1/feeds/pub:a?at_least=2"), 503, "unavailable")
		h.wantStatus(h.get("/v1/feeds/pub:a"), 200)
		if time.Since(begin) != 0 {
			t.Error("it waited still")
		}
	})
}

// TestFloorsUnderWrites: readers with floors that are acknowledged this moment never get less.
func TestFloorsUnderWrites(t *testing.T) {
	h := newHarness(t)
	const rounds = 60
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range rounds {
				head := h.put("pub:a", fmt.Sprint("k", w), fmt.Sprint(i))
				want, _ := feed.ParseCursor(head)
				a := h.do(http.MethodGet, "/v1/feeds/pub:a?at_least="+head, "")
				got, err := feed.ParseCursor(a.Header.Get("Doorbell-Cursor"))
				if a.StatusCode != http.StatusOK || err != nil || !got.Covers(want) {
					h.Errorf("at_least=%s got %d %s", head, a.StatusCode, a.Header.Get("Doorbell-Cursor"))
				}
			}
		})
	}
	wg.Wait()
}
