package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	api "github.com/doorbell-sync/doorbell/services/api"
)

// TestWaitingIsShallow: whatever a request went through before it waits, its goroutine has returned from: stacks are most of
// what waiting costs.
func TestWaitingIsShallow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		pub, inbox := h.put("pub:a", "one", "1"), h.put("inbox:7", "one", "1")
		var wg sync.WaitGroup
		wg.Go(func() { h.get("/v1/feeds/pub:a/changes?wait=20&since=" + pub) })
		wg.Go(func() { h.get("/v1/feeds/inbox:7/changes?wait=20&since="+inbox, bearer(readerToken)) })
		wg.Go(func() { h.do("POST", "/v1/poll", `{"feeds":{"pub:a":"`+pub+`"},"wait":20}`) })
		time.Sleep(time.Second)
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		waiting := 0
		for one := range strings.SplitSeq(string(stacks), "\n\n") {
			if !strings.Contains(one, "window.(*Poll).Wait") {
				continue
			}
			waiting++
			if strings.Contains(one, "gin.") {
				t.Errorf("it waits within the routes:\n%s", one)
			}
		}
		if waiting != 3 {
			t.Errorf("%d wait; want 3", waiting)
		}
		wg.Wait()
	})
}

// TestWaitingForPrivateFeeds takes no goroutine of its own to hear of the token's end: hundreds share one.
func TestWaitingForPrivateFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleeting(t)
		h := newHarness(t, func(o *api.Options) { o.Auth = f })
		head := h.appendDirectly("inbox:7", "one", "1").String()
		const n, others = 300, 80 // the wheel, and who looks at requests
		before := runtime.NumGoroutine()
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				h.wantProblem(h.get("/v1/feeds/inbox:7/changes?wait=20&since="+head, bearer("anns")), 401, "unauthorized")
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if waiting, more := h.api.Polling(), runtime.NumGoroutine()-before; waiting != n || more > n+others {
			t.Errorf("%d wait, with %d goroutines; want %d, with at most %d", waiting, more, n, n+others)
		}
		f.revoke()
		begin := time.Now()
		wg.Wait()
		h.wantWait(begin, 0)
	})
}

// TestWaitingCountsOnce, however often it is looked at: for the metrics and for the client's budget.
func TestWaitingCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		h := newHarness(t, limited, func(o *api.Options) {
			o.Metrics = registry
			o.Limits.Polls = api.Limit{PerSecond: 0.01, Burst: 2}
		})
		head := h.put("pub:a", "one", "1")
		const changes = "/v1/feeds/pub:a/changes"
		poll := `{"feeds":{"pub:a":"` + head + `"},"wait":1}`
		h.wantStatus(h.from(here, "GET", changes+"?wait=1&since="+head, ""), http.StatusOK)
		h.wantStatus(h.from(here, "POST", "/v1/poll", poll), http.StatusOK)
		if n := h.allowed(9, here, "GET", changes, ""); n != 4 {
			t.Errorf("%d reads were let through after one that waited; want 4", n)
		}
		if n := h.allowed(9, here, "POST", "/v1/poll", poll); n != 1 {
			t.Errorf("%d polls were let through after one that waited; want 1", n)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "doorbell_api_requests_total" && m.GetCounter().GetValue() > 0 {
					var labels []string
					for _, l := range m.GetLabel() {
						labels = append(labels, l.GetValue())
					}
					counted[strings.Join(labels, " ")] = m.GetCounter().GetValue()
				}
			}
		}
		for labels, want := range map[string]float64{
			"2xx /v1/feeds/:feed/changes": 5, "4xx /v1/feeds/:feed/changes": 5, "2xx /v1/poll": 2, "4xx /v1/poll": 8,
			"other /v1/poll": 0, "other /v1/feeds/:feed/changes": 0,
		} {
			if counted[labels] != want {
				t.Errorf("%s: %v were counted; want %v", labels, counted[labels], want)
			}
		}
	})
}

// broken is a client's connection that breaks when it is written to, in a way that is net/http's business.
type broken struct{ http.ResponseWriter }

func (broken) WriteHeader(int) { panic(http.ErrAbortHandler) }

// TestWaitingBreaksOff on the goroutine that net/http has given the request, which would end the process otherwise.
func TestWaitingBreaksOff(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("%v; want what net/http breaks off with", err)
		}
	}()
	h.api.Handler().ServeHTTP(broken{httptest.NewRecorder()}, h.request("GET", "/v1/feeds/pub:a/changes?wait=1", ""))
}
