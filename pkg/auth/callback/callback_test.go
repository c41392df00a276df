package callback

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ann = &auth.Principal{Subject: "ann"}

type asked struct {
	Subject, Action string
	Feeds           []feed.Name
}

// app is the application: everything below "yes:" is allowed.
type app struct {
	server *httptest.Server

	mu     sync.Mutex
	gate   chan struct{}    // answers wait for it; nil: they don't
	answer http.HandlerFunc // nil: as above
	asked  []asked
	began  chan struct{} // gets something for each question
}

func newApp(t *testing.T) *app {
	a := &app{began: make(chan struct{}, 1000)}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	return a
}

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	var q asked
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Authorization") != "Bearer s3cret" || r.Method != http.MethodPost {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	a.asked = append(a.asked, q)
	gate, answer := a.gate, a.answer
	a.mu.Unlock()
	a.began <- struct{}{}
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	if answer != nil {
		answer(w, r)
		return
	}
	allowed := slices.DeleteFunc(slices.Clone(q.Feeds), func(n feed.Name) bool { return !strings.HasPrefix(string(n), "yes:") })
	//nolint:errchkjson // a caller that has gone
	_ = json.NewEncoder(w).Encode(map[string]any{"allowed": append([]feed.Name{"never:asked"}, allowed...)})
}

func (a *app) set(gate chan struct{}, answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gate, a.answer = gate, answer
}

func (a *app) questions() []asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func (a *app) callback(t *testing.T, opt Options) *Callback {
	t.Helper()
	opt.URL, opt.Secret, opt.Logger = a.server.URL, "s3cret", slog.New(slog.DiscardHandler)
	c, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func want(t *testing.T, got []auth.Verdict, want ...auth.Verdict) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the verdicts are %v; want %v", got, want)
	}
}

func TestAnswersAreRememberedPerSubjectFeedAndAction(t *testing.T) {
	a := newApp(t)
	c := a.callback(t, Options{})
	for range 3 {
		want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"no:1", "yes:1", "no:2"}), auth.Forbidden, auth.Allowed, auth.Forbidden)
	}
	want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"yes:2", "yes:1"}), auth.Allowed, auth.Allowed)
	want(t, c.Authorize(t.Context(), ann, auth.Write, []feed.Name{"yes:1"}), auth.Allowed)
	want(t, c.Authorize(t.Context(), &auth.Principal{Subject: "bob"}, auth.Read, []feed.Name{"yes:1"}), auth.Allowed)
	want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"never:asked"}), auth.Allowed) // now it was
	if got, want := fmt.Sprint(a.questions()),
		"[{ann read [no:1 yes:1 no:2]} {ann read [yes:2]} {ann write [yes:1]} {bob read [yes:1]} {ann read [never:asked]}]"; got != want {
		t.Errorf("asked %s; want %s", got, want)
	}
}

func TestAnswersHoldForTheirTime(t *testing.T) {
	a := newApp(t)
	c := a.callback(t, Options{AllowTTL: time.Hour, DenyTTL: 50 * time.Millisecond})
	feeds := []feed.Name{"no:1", "yes:1"}
	want(t, c.Authorize(t.Context(), ann, auth.Read, feeds), auth.Forbidden, auth.Allowed)
	time.Sleep(60 * time.Millisecond)
	a.set(nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"allowed":["no:1"]}`) })
	want(t, c.Authorize(t.Context(), ann, auth.Read, feeds), auth.Allowed, auth.Allowed)
	if got := a.questions(); len(got) != 2 || len(got[1].Feeds) != 1 {
		t.Errorf("asked %v", got)
	}
}

// TestACrowdAsksOnce: whoever comes while a question is under way waits for it.
func TestACrowdAsksOnce(t *testing.T) {
	a := newApp(t)
	gate := make(chan struct{})
	a.set(gate, nil)
	c := a.callback(t, Options{Timeout: time.Minute})
	var crowd sync.WaitGroup
	ask := func() {
		crowd.Go(func() {
			want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"yes:1", "no:1"}), auth.Allowed, auth.Forbidden)
		})
	}
	ask()
	<-a.began
	for range 50 {
		ask()
	}
	// One that leaves doesn't take the answer along.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, c.Authorize(ctx, ann, auth.Read, []feed.Name{"yes:1"}), auth.Unknown)
	close(gate)
	crowd.Wait()
	if got := a.questions(); len(got) != 1 {
		t.Errorf("asked %d times", len(got))
	}
}

func TestManyFeedsAreAskedInParts(t *testing.T) {
	a := newApp(t)
	c := a.callback(t, Options{Timeout: time.Minute})
	feeds := make([]feed.Name, 1200)
	for i := range feeds {
		if feeds[i] = feed.Name(fmt.Sprintf("no:%d", i)); i%2 == 0 {
			feeds[i] = feed.Name(fmt.Sprintf("yes:%d", i))
		}
	}
	for i, v := range c.Authorize(t.Context(), ann, auth.Read, feeds) {
		if (v == auth.Allowed) != (i%2 == 0) {
			t.Fatalf("%s: %v", feeds[i], v)
		}
	}
	if got := a.questions(); len(got) != 3 || len(got[0].Feeds)+len(got[1].Feeds)+len(got[2].Feeds) != 1200 {
		t.Errorf("asked %d times", len(got))
	}
}

func TestWhateverGoesWrongAllowsNothing(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"allowed":["yes:1"]}`, http.StatusInternalServerError)
		},
		"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"a page":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"another list": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"feeds":["yes:1"]}`) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"allowed":["yes:1"]`+strings.Repeat(" ", maxAnswer)+`}`)
		},
		"nothing": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.set(nil, answer)
			c := a.callback(t, Options{Timeout: 300 * time.Millisecond})
			want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"yes:1", "no:1"}), auth.Unknown, auth.Unknown)
			a.set(nil, nil) // and isn't remembered
			want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"yes:1", "no:1"}), auth.Allowed, auth.Forbidden)
		})
	}
}

func TestAnApplicationThatFailsIsLeftAlone(t *testing.T) {
	a := newApp(t)
	a.set(nil, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	c := a.callback(t, Options{})
	want(t, c.Authorize(t.Context(), ann, auth.Write, []feed.Name{"yes:0"}), auth.Unknown)
	for i := range 50 {
		want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{feed.Name(fmt.Sprintf("yes:%d", i))}), auth.Unknown)
	}
	if got := a.questions(); len(got) != tripAfter {
		t.Errorf("asked %d times; want %d", len(got), tripAfter)
	}
}

// TestOneSubjectDoesNotSilenceTheOthers: neither with what the application refuses, nor with more questions than there may be.
func TestOneSubjectDoesNotSilenceTheOthers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such subject", http.StatusNotFound) },
		"slow":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			c := a.callback(t, Options{Timeout: 300 * time.Millisecond})
			a.set(nil, answer)
			if answer == nil {
				for range questionsAtOnce {
					c.slots <- struct{}{}
				}
			}
			for i := range 2 * tripAfter {
				want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{feed.Name(fmt.Sprintf("yes:%d", i))}), auth.Unknown)
			}
			if answer == nil {
				for range questionsAtOnce {
					<-c.slots
				}
			}
			a.set(nil, nil)
			want(t, c.Authorize(t.Context(), &auth.Principal{Subject: "bob"}, auth.Read, []feed.Name{"yes:1"}), auth.Allowed)
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := newApp(t)
	const most = 64 << 10
	c := a.callback(t, Options{CacheBytes: most, Timeout: time.Minute})
	for i := range 20 {
		feeds := make([]feed.Name, 100)
		for j := range feeds {
			feeds[j] = feed.Name(fmt.Sprintf("yes:%d:%d", i, j))
		}
		c.Authorize(t.Context(), ann, auth.Read, feeds)
	}
	c.cache.CleanUp()
	if n := c.cache.WeightedSize(); n > most {
		t.Errorf("%d bytes of answers are kept; want at most %d", n, most)
	}
	if len(c.asked) != 0 {
		t.Errorf("%d questions are kept", len(c.asked))
	}
}

func TestCloseEndsQuestions(t *testing.T) {
	a := newApp(t)
	a.set(make(chan struct{}), nil)
	c := a.callback(t, Options{Timeout: time.Minute})
	var asking sync.WaitGroup
	asking.Go(func() { want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"yes:1"}), auth.Unknown) })
	<-a.began
	c.Close()
	asking.Wait()
	want(t, c.Authorize(t.Context(), ann, auth.Read, []feed.Name{"yes:1"}), auth.Unknown)
}

func TestWeigh(t *testing.T) {
	a := newApp(t)
	c := a.callback(t, Options{})
	p, err := auth.NewPrincipal("ann", auth.Scopes{Read: []string{"own:*"}})
	if err != nil {
		t.Fatal(err)
	}
	asks := func(n feed.Name) bool { return n != "yes:quiet" }
	feeds := []feed.Name{"own:1", "yes:1", "yes:quiet", "no:1"}
	want(t, auth.Weigh(t.Context(), c, p, auth.Read, feeds, asks), auth.Allowed, auth.Allowed, auth.Forbidden, auth.Forbidden)
	want(t, auth.Weigh(t.Context(), nil, p, auth.Read, feeds, asks), auth.Allowed, auth.Forbidden, auth.Forbidden, auth.Forbidden)
	want(t, auth.Weigh(t.Context(), c, nil, auth.Read, feeds, asks), make([]auth.Verdict, 4)...)
	if got := fmt.Sprint(a.questions()); got != "[{ann read [yes:1 no:1]}]" {
		t.Errorf("asked %s", got)
	}
}
