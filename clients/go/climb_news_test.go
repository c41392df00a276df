package doorbell

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// TestFollowTakesNoStepsWithinAWalk: its cursor is no place where others have been, and what it goes to is the newest.
func TestFollowTakesNoStepsWithinAWalk(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		for n := range 5 {
			f.put(fmt.Sprint("k", n), `1`)
		}
		read := 0
		f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			if read++; read == 2 {
				sendProblem(w, 503, "behind", nil)
			}
			return read == 2
		}
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Limit: 2})
		w.pass(time.Minute)
		w.wantSame(f)
		page := "%s?since=0k00001-%d~5&at_least=0k00001-5&limit=2"
		wantReads(t, f, "/v1/feeds/"+feedX+"?at_least=0k00001-5&limit=2", fmt.Sprintf(page, changesX, 2), fmt.Sprintf(page, changesX, 2), fmt.Sprintf(page, changesX, 4))
	})
}

// TestFollowHearsWhileItTakesAStep: what comes while the first is asked for decides how it goes on.
func TestFollowHearsWhileItTakesAStep(t *testing.T) {
	tests := []struct {
		name  string
		hears func(f *fake)
		asks  []string // after the first
		waits time.Duration
		last  []string // then
	}{
		{"nothing", func(*fake) {}, []string{delta(2, 3), delta(3, 4)}, 0, nil},
		{"a head", func(f *fake) { f.put("a", `4`) }, []string{delta(2, 3), delta(3, 4), delta(4, 5)}, 0, nil},
		{"a head whose pulls are spread", func(f *fake) {
			f.with(func() { f.spread = time.Hour })
			f.put("a", `4`)
		}, []string{delta(2, 3), delta(3, 4)}, time.Hour, []string{delta(4, 5)}},
		{"that signals can't be relied on", func(f *fake) { f.broadcast(`{"degraded":true}`) }, []string{delta(2, 4)}, 0, nil},
		{"of another epoch", func(f *fake) { f.drop() }, []string{"/v1/feeds/" + feedX + "?at_least=0k00002-0"}, 0, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `0`)
				cache := newFakeCache(f)
				onTime, _ := serve(t, cache)
				crowd := startWatch(t, onTime, FollowOptions{Since: since})
				asked := make(chan struct{})
				l := startLate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.RequestURI == delta(1, 2) {
						<-asked
					}
					cache.ServeHTTP(w, r)
				}), FollowOptions{Since: since})
				l.wantEvents("@" + since)
				f.behind(crowd, 3, 1)
				l.letGo()
				l.settle()
				test.hears(f)
				l.settle()
				if got := l.urls(); !slices.Equal(got, []string{delta(1, 2)}) {
					t.Fatalf("asked %q at first", got)
				}
				close(asked)
				l.settle()
				if got := l.urls(); !sameTexts(got, test.asks) {
					t.Errorf("asked %q, want %q", got, test.asks)
				}
				l.pass(test.waits)
				if got := l.urls(); !sameTexts(got, test.last) {
					t.Errorf("asked %q at last, want %q", got, test.last)
				}
				l.wantSame(f)
			})
		})
	}
}

// sameTexts compares them in any order.
func sameTexts(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
