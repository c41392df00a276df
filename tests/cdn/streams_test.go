//go:build unix

package cdn

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

func testWebSocket(t *testing.T, s *suite) {
	ear := cluster.Listen(t, s.edge.URL(), "open:socket")
	for range 3 {
		ear.WaitHeard(t, cluster.Seq(s.put(t, "open:socket", "a", fmt.Sprint(ear.Seq()))))
	}
}

// testSignals: what is written is heard of through the cache, each change at once.
func testSignals(t *testing.T, s *suite) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.edge.URL()+"/v1/signals?feed=open:events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Client{Transport: s.http.Transport}).Do(req) // without a time limit
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	hear := func(what string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return
			}
		}
		t.Fatalf("%s is not heard of: %v", what, lines.Err())
	}
	hear(`data: {"subscribed":`)
	for n := range 5 {
		hear(`"open:events":"` + s.put(t, "open:events", "a", fmt.Sprint(n)))
	}
}

// testEvents: an event goes on at once, not when the answer ends or some buffer is full.
func testEvents(t *testing.T, s *suite) {
	heard := make(chan struct{})
	s.during(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n", i)
			w.(http.Flusher).Flush()
			select {
			case heard <- struct{}{}: // goes on only when the client has it
			case <-r.Context().Done():
				return
			}
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.edge.URL()+"/v1/signals?feed=open:a", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
			t.Fatalf("event %d is %q, %v", i, lines.Text(), lines.Err())
		}
		<-heard
	}
}

// testLongPolls: polls of one URL wait side by side, each with its own answer: one that nobody shares and nobody keeps.
func testLongPolls(t *testing.T, s *suite) {
	const polls = 20
	var waiting atomic.Int64
	all := make(chan struct{})
	s.during(t, func(w http.ResponseWriter, r *http.Request) {
		n := waiting.Add(1)
		if n == polls {
			close(all)
		}
		select {
		case <-all:
		case <-r.Context().Done():
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("CDN-Cache-Control", "no-store")
		fmt.Fprint(w, n)
	})
	var mu sync.Mutex
	answers := map[string]bool{}
	var asked sync.WaitGroup
	for range polls {
		asked.Go(func() {
			g, err := s.try(t, http.MethodGet, "/v1/feeds/open:polls/changes?since=0k00000-1&wait=20s", "")
			if err != nil || g.status != http.StatusOK {
				t.Error(g.status, err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[g.body] = true
		})
	}
	doorbelltest.Eventually(t, "all polls wait at the origin", func() bool { return waiting.Load() == polls })
	asked.Wait()
	if len(answers) != polls {
		t.Errorf("%d polls shared %d answers", polls, len(answers))
	}
}
