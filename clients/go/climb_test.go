package doorbell

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// late is a follower whose consumer is busy with what it was given first, until it is let go.
type late struct {
	*watch

	behind  http.Handler
	network *network
	mu      sync.Mutex
	asked   []string
	letGo   func()
}

func startLate(t *testing.T, behind http.Handler, o FollowOptions) *late {
	l := &late{behind: behind}
	busy := make(chan struct{})
	l.letGo = sync.OnceFunc(func() { close(busy) })
	c, network := serve(t, l)
	l.network = network
	l.watch = startWatch(t, c, o, func(Event) { <-busy })
	t.Cleanup(l.letGo)
	return l
}

func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/feeds/") {
		l.mu.Lock()
		l.asked = append(l.asked, r.RequestURI)
		l.mu.Unlock()
	}
	l.behind.ServeHTTP(w, r)
}

func (l *late) urls() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.asked
	l.asked = nil
	return asked
}

func delta(since, atLeast int) string {
	return fmt.Sprintf("%s?since=0k00001-%d&at_least=0k00001-%d", changesX, since, atLeast)
}

func TestFollowWhoIsLateGoesTheWayOfTheCrowd(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		cache := newFakeCache(f)
		onTime, _ := serve(t, cache)
		crowd := startWatch(t, onTime, FollowOptions{Since: since})
		tardy := []*late{startLate(t, cache, FollowOptions{Since: since}), startLate(t, cache, FollowOptions{Since: since})}
		crowd.wantEvents("@" + since)
		var want []string
		for n := 2; n <= 12; n++ {
			f.put("a", fmt.Sprint(n))
			crowd.wantEvents(fmt.Sprintf("a=%d @0k00001-%d", n, n))
			want = append(want, delta(n-1, n))
		}
		wantReads(t, f, want...)
		for _, l := range tardy {
			l.wantEvents("@" + since)
			l.letGo()
			l.wantEvents("a=2 @0k00001-2 a=12 @0k00001-12")
			asked := l.urls()
			slices.SortFunc(asked, func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) })
			if !slices.Equal(asked, want) { // and so in two round trips: see below
				t.Errorf("one who was late asked\n     %q\nwant %q", asked, want)
			}
			l.wantSame(f)
		}
		wantReads(t, f) // the origin hears nothing of them
	})
}

func TestFollowCatchesUpInTwoRoundTrips(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		cache := newFakeCache(f)
		onTime, _ := serve(t, cache)
		crowd := startWatch(t, onTime, FollowOptions{Since: since})
		far := newFakeCache(f)
		far.kept, far.delay = cache.kept, time.Second
		l := startLate(t, far, FollowOptions{Since: since})
		l.wantEvents("@" + since)
		for n := range maxBacklog {
			f.put(fmt.Sprint("k", n), `1`)
			crowd.settle()
		}
		l.letGo()
		l.pass(2*time.Second - 1)
		l.wantEvents("k0=1 @0k00001-2")
		l.pass(1)
		l.wantEvents("k1=1 k2=1 k3=1 k4=1 k5=1 k6=1 k7=1 k8=1 k9=1 k10=1 k11=1 k12=1 k13=1 k14=1 k15=1 @0k00001-17")
		if n := len(f.reads()); n != maxBacklog {
			t.Errorf("the origin had %d reads, want the crowd's %d", n, maxBacklog)
		}
	})
}

func TestFollowCatchesUpInOneReadWithoutACache(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		l := startLate(t, f, FollowOptions{Since: since})
		l.wantEvents("@" + since)
		for n := range 10 {
			f.put("a", fmt.Sprint(n))
			l.settle()
		}
		l.letGo()
		l.wantEvents("a=9 @0k00001-11")
		wantReads(t, f, delta(1, 2))
	})
}

func TestFollowDoesNotTakeDistanceForACache(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		distant := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reads := strings.HasPrefix(r.URL.Path, "/v1/feeds/")
			if reads {
				time.Sleep(500 * time.Millisecond)
				defer time.Sleep(500 * time.Millisecond) // the answer is written when the handler is done
			}
			f.ServeHTTP(w, r)
		})
		c, _ := serve(t, distant)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		for n := range 100 { // ten in a round trip
			f.put("a", fmt.Sprint(n))
			w.pass(100 * time.Millisecond)
		}
		w.pass(2 * time.Second)
		w.wantSame(f)
		if n := len(f.reads()); n > 12 {
			t.Errorf("%d reads in as many seconds and a round trip of one, all of them at the origin", n)
		}
	})
}

// behind puts so many changes of some items each into the feed, which a crowd takes as they come.
func (f *fake) behind(crowd *watch, changes, size int) {
	for n := range changes {
		var items []Change
		for k := range size {
			items = append(items, Change{Key: string(rune('a' + k)), Value: []byte(fmt.Sprint(n))})
		}
		f.change(items...)
		crowd.settle()
	}
}

func TestFollowHowFarByStepsAndHow(t *testing.T) {
	tests := []struct {
		name          string
		changes, size int
		hears         string        // of the signals: "all", "last", "none": it is told when it subscribes again
		want          []string      // what the origin hears of it
		within        time.Duration // with a second for each round trip
	}{
		{"single changes, a page full of them", maxClimb, 1, "all", nil, 5 * time.Second},
		{"too many, but at each seq", maxBacklog + 1, 1, "all", nil, 2 * time.Second},
		{"of several items each", maxBacklog, 3, "all", nil, 2 * time.Second},
		{"too many of several items each", maxBacklog + 1, 3, "all", []string{delta(1, 48)}, time.Second},
		{"too far, of all of which it was told", maxBacklog, 10, "all", nil, 2 * time.Second},
		{"signals were combined", 12, 1, "last", nil, 2 * time.Second},
		{"too many of them", maxClimb + 5, 1, "last", []string{delta(1+maxClimb, 6+maxClimb)}, 5 * time.Second},
		{"a short break", maxClimb, 1, "none", nil, 5 * time.Second},
		{"a long break", maxClimb + 1, 1, "none", []string{delta(1, 48)}, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `0`)
				cache := newFakeCache(f)
				onTime, _ := serve(t, cache)
				crowd := startWatch(t, onTime, FollowOptions{Since: since})
				crowd.wantEvents("@" + since)
				others := f.subscribers()
				distant := newFakeCache(f)
				distant.kept, distant.delay = cache.kept, time.Second
				l := startLate(t, distant, FollowOptions{Since: since})
				l.wantEvents("@" + since)
				for _, s := range f.subscribers() {
					s.mute.Store(test.hears == "last" && !slices.Contains(others, s))
				}
				l.network.setDown(test.hears == "none")
				f.behind(crowd, test.changes-1, test.size)
				for _, s := range f.subscribers() {
					s.mute.Store(false)
				}
				f.behind(crowd, 1, test.size)
				l.network.setDown(false)
				l.pass(time.Minute) // it subscribes again
				f.reads()
				l.letGo()
				l.pass(test.within)
				l.wantSame(f)
				wantReads(t, f, test.want...)
			})
		})
	}
}

// Who are far behind meet at milestones, wherever they come from and however new their heads are, and go on by steps.
func TestFollowMeetsAtMilestones(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		cache := newFakeCache(f)
		onTime, _ := serve(t, cache)
		crowd := startWatch(t, onTime, FollowOptions{Since: since})
		crowd.wantEvents("@" + since)
		tests := []struct {
			changes int
			hears   []string // what the origin hears of one who was told of none of them
		}{
			{maxClimb + 1, []string{delta(1, 48)}},
			{5, nil}, // the same milestone, and steps that the crowd has taken
			{7, nil},
			{1, []string{delta(1, 64)}}, // the next one
			{milestones - 1, nil},
		}
		var away []*late
		for range tests {
			distant := newFakeCache(f)
			distant.kept = cache.kept
			l := startLate(t, distant, FollowOptions{Since: since})
			l.wantEvents("@" + since)
			l.network.setDown(true)
			away = append(away, l)
		}
		for i, test := range tests {
			f.behind(crowd, test.changes, 1)
			l := away[i]
			l.network.setDown(false)
			l.pass(time.Minute)
			f.reads()
			l.letGo()
			l.pass(time.Second)
			l.wantSame(f)
			wantReads(t, f, test.hears...)
		}
	})
}

func TestFollowDropsStepsThatDoNotFit(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		cache := newFakeCache(f)
		l := startLate(t, cache, FollowOptions{Since: since})
		onTime, _ := serve(t, cache)
		crowd := startWatch(t, onTime, FollowOptions{Since: since})
		l.wantEvents("@" + since)
		// The crowd's answers lead beyond what was signalled: 1→2, 2→4, 4→6 with a 6 that nobody is told of, 6→8.
		for n := 2; n <= 8; n++ {
			switch n {
			case 3:
				f.fault = func(http.ResponseWriter, *http.Request) bool {
					f.with(func() { f.fault = nil })
					f.put("b", `4`)
					return false
				}
			case 4:
				continue
			case 5:
				f.fault = func(http.ResponseWriter, *http.Request) bool {
					f.with(func() { f.fault, f.silent = nil, true })
					f.put("b", `6`)
					f.with(func() { f.silent = false })
					return false
				}
			case 6:
				continue
			}
			f.put("a", fmt.Sprint(n))
			crowd.settle()
		}
		crowd.wantSame(f)
		wantReads(t, f, delta(1, 2), delta(2, 3), delta(4, 5), delta(6, 7), delta(7, 8))
		l.letGo()
		l.wantSame(f)
		l.wantEvents("a=2 @0k00001-2 b=6 a=8 @0k00001-8")
		// Nobody was ever at 3 and 5, which it can't know. Whether those are asked for before the others are there is chance.
		asked := l.urls()
		for _, url := range []string{delta(1, 2), delta(2, 3), delta(4, 5), delta(6, 7), delta(7, 8)} {
			if !slices.Contains(asked, url) {
				t.Errorf("asked %q, and not %s", asked, url)
			}
		}
		if n := len(f.reads()); n > 2 || len(asked) > 7 {
			t.Errorf("asked %q, of which the origin heard %d", asked, n)
		}
	})
}

func TestFollowGoesStraightWhenAStepFails(t *testing.T) {
	status := func(code int, name string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { sendProblem(w, code, name, nil) }
	}
	tests := []struct {
		name  string
		fail  func(http.ResponseWriter)
		which string // the step that fails
		want  string
	}{
		{"503 at first", status(503, "behind"), delta(1, 2), "a=9 @0k00001-10"},
		{"503", status(503, "behind"), delta(4, 5), "a=1 @0k00001-2 a=3 @0k00001-4 a=9 @0k00001-10"},
		{"429", status(429, "too_many_requests"), delta(2, 3), "a=1 @0k00001-2 a=9 @0k00001-10"},
		{"reset", status(410, "reset"), delta(5, 6), "a=1 @0k00001-2 a=4 @0k00001-5 reset a=9 @0k00001-10"},
		{"network", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, delta(8, 9), "a=1 @0k00001-2 a=7 @0k00001-8 a=9 @0k00001-10"},
		{"another question's answer", func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"feed":"prices:X","cursor":"0k00001-10","items":[]}`)
		},
			delta(3, 4), "a=1 @0k00001-2 a=2 @0k00001-3 a=9 @0k00001-10"},
		{"a step back", func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"feed":"prices:X","since":"0k00001-3","cursor":"0k00001-2","more":true,"changes":[]}`)
		}, delta(3, 4), "a=1 @0k00001-2 a=2 @0k00001-3 a=9 @0k00001-10"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `0`)
				cache := newFakeCache(f)
				onTime, _ := serve(t, cache)
				crowd := startWatch(t, onTime, FollowOptions{Since: since})
				l := startLate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.RequestURI == test.which {
						test.fail(w)
						return
					}
					cache.ServeHTTP(w, r)
				}), FollowOptions{Since: since})
				l.wantEvents("@" + since)
				for n := 1; n <= 9; n++ {
					f.put("a", fmt.Sprint(n))
					crowd.settle()
				}
				l.letGo()
				l.pass(2 * time.Second)
				l.wantEvents(test.want)
				l.wantSame(f)
				// And the next time it goes by steps again.
				l.urls()
				f.put("a", `10`)
				l.wantEvents("a=10 @0k00001-11")
				if got := l.urls(); !slices.Equal(got, []string{delta(10, 11)}) {
					t.Errorf("then asked %q", got)
				}
			})
		})
	}
}

func TestFollowHasNoPatienceForLargeSteps(t *testing.T) {
	for _, large := range []int{1, 4} { // the first step takes several pages, or one in the middle
		t.Run(fmt.Sprint("step ", large), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `0`)
				cache := newFakeCache(f)
				onTime, _ := serve(t, cache)
				crowd := startWatch(t, onTime, FollowOptions{Since: since, Limit: 2})
				l := startLate(t, cache, FollowOptions{Since: since, Limit: 2})
				l.wantEvents("@" + since)
				for n := 1; n <= 6; n++ {
					changes := []Change{{Key: "a", Value: []byte(fmt.Sprint(n))}}
					if n == large {
						for k := range 4 {
							changes = append(changes, Change{Key: fmt.Sprint("k", k), Value: []byte(`1`)})
						}
					}
					f.change(changes...)
					crowd.settle()
				}
				f.reads()
				l.letGo()
				l.wantSame(f)
				straight := fmt.Sprintf("%s?since=0k00001-%d&at_least=0k00001-11&limit=2", changesX, []int{1: 6, 4: 6}[large])
				if asked := l.urls(); !slices.Contains(asked, straight) {
					t.Errorf("asked %q, and not %s", asked, straight)
				}
			})
		})
	}
}

func TestFollowTakesNoStepsWithoutSignalsToRelyOn(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		cache := newFakeCache(f)
		onTime, _ := serve(t, cache)
		crowd := startWatch(t, onTime, FollowOptions{Since: since})
		l := startLate(t, cache, FollowOptions{Since: since})
		l.wantEvents("@" + since)
		f.behind(crowd, 3, 1)
		f.broadcast(`{"degraded":true}`)
		l.settle()
		l.letGo()
		l.wantSame(f)
		if got := l.urls(); !slices.Equal(got, []string{delta(1, 4)}) {
			t.Errorf("asked %q", got)
		}
	})
}
