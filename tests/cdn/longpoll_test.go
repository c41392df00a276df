//go:build unix

package cdn

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// poll is one way to wait for news of a feed.
type poll struct {
	what string
	send func(ctx context.Context, feed, since string, wait int) (*http.Request, error)
}

func (s *suite) polls() []poll {
	return []poll{
		{"wait", func(ctx context.Context, feed, since string, wait int) (*http.Request, error) {
			uri := fmt.Sprintf("%s/v1/feeds/%s/changes?since=%s&wait=%d", s.edge.URL(), feed, since, wait)
			return http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
		}},
		{"poll", func(ctx context.Context, feed, since string, wait int) (*http.Request, error) {
			body := fmt.Sprintf(`{"feeds":{%q:%q},"wait":"%ds"}`, feed, since, wait)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.edge.URL()+"/v1/poll", strings.NewReader(body))
			if err == nil {
				req.Header.Set("Content-Type", "application/json")
			}
			return req, err
		}},
	}
}

// held polls, on a client without a time limit of its own.
func (s *suite) held(t *testing.T, p poll, feed, since string, wait int) <-chan got {
	t.Helper()
	req, err := p.send(t.Context(), feed, since, wait)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan got, 1)
	go func() {
		res, err := (&http.Client{Transport: s.http.Transport}).Do(req)
		if err != nil {
			answered <- got{body: err.Error()}
			return
		}
		answered <- read(res)
	}()
	return answered
}

// testPollsAreWoken: whoever waits is answered by the change, each of those who ask the same; and nothing of it is kept, neither
// the news nor that there were none.
func testPollsAreWoken(t *testing.T, s *suite) {
	for _, p := range s.polls() {
		feed := "open:woken-" + p.what
		head := s.put(t, feed, "a", `1`)
		for n := range 2 {
			empty := <-s.held(t, p, feed, head, 1)
			if empty.status != http.StatusOK || strings.Contains(empty.body, `"key"`) || empty.header.Get("CDN-Cache-Control") != "no-store" {
				t.Errorf("%s: nothing new is %d %s %v", p.what, empty.status, empty.body, empty.header)
			}
			before := s.polling()
			first, second := s.held(t, p, feed, head, 25), s.held(t, p, feed, head, 25)
			doorbelltest.Eventually(t, "both are held at the origin", func() bool { return s.polling() >= before+2 })
			began := time.Now()
			next := s.put(t, feed, "a", fmt.Sprint(n+2))
			for _, answered := range []<-chan got{first, second} {
				g := <-answered
				if g.status != http.StatusOK || !strings.Contains(g.body, next) || !strings.Contains(g.body, `"key":"a"`) {
					t.Errorf("%s: who waits gets %d %s; want the change to %s", p.what, g.status, g.body, next)
				}
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s: woken after %s, by its end", p.what, took)
			}
			// The very same once more: what was answered is no answer any more.
			again := s.put(t, feed, "a", fmt.Sprint(n+3))
			if g := <-s.held(t, p, feed, head, 25); !strings.Contains(g.body, again) {
				t.Errorf("%s: asked again at %s: %s", p.what, again, g.body)
			}
			head = again
		}
	}
}

// polling is how many long polls wait, as the API says.
func (s *suite) polling() int {
	return int(s.metric("doorbell_api_long_polls"))
}

// testPollsThatAreLeft: when a client goes, the API hears of it at once, and doesn't wait for nobody.
func testPollsThatAreLeft(t *testing.T, s *suite) {
	for _, p := range s.polls() {
		feed := "open:left-" + p.what
		head := s.put(t, feed, "a", `1`)
		before := s.polling()
		ctx, leave := context.WithCancel(t.Context())
		req, err := p.send(ctx, feed, head, 30)
		if err != nil {
			t.Fatal(err)
		}
		left := make(chan struct{})
		go func() {
			defer close(left)
			if res, err := (&http.Client{Transport: s.http.Transport}).Do(req); err == nil {
				t.Errorf("%s: answered: %d", p.what, res.StatusCode)
				_ = res.Body.Close()
			}
		}()
		doorbelltest.Eventually(t, "it is held", func() bool { return s.polling() > before })
		began := time.Now()
		leave()
		<-left
		doorbelltest.Eventually(t, p.what+" isn't held any more", func() bool { return s.polling() <= before })
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%s: given up after %s", p.what, took)
		}
	}
}

// longest holds polls for as long as is allowed, while other tests run. The returned func has them be right.
func (s *suite) longest(t *testing.T) func(t *testing.T) {
	t.Helper()
	began := time.Now()
	var all []<-chan got
	for _, p := range s.polls() {
		feed := "open:longest-" + p.what
		all = append(all, s.held(t, p, feed, s.put(t, feed, "a", `1`), 30))
	}
	done := make(chan time.Duration, 1)
	answers := make([]got, len(all))
	go func() {
		for i := range all {
			answers[i] = <-all[i]
		}
		done <- time.Since(began)
	}()
	return func(t *testing.T) {
		took := <-done
		for i, p := range s.polls() {
			if g := answers[i]; g.status != http.StatusOK || strings.Contains(g.body, `"key"`) {
				t.Errorf("%s for 30 s: %d %s", p.what, g.status, g.body)
			}
		}
		if took < 29*time.Second {
			t.Errorf("cut off after %s", took)
		}
		t.Logf("held for %s", took.Round(time.Millisecond))
	}
}
