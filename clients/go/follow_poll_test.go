package doorbell

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestFollowPollsAsTheServerAsks(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		f.handshake, f.pollAfter, f.etags = http.StatusUpgradeRequired, "7.5", true
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.pass(5 * time.Minute)
		f.mu.Lock()
		requests := slices.Clone(f.requests)
		f.mu.Unlock()
		for i, r := range requests[2:] {
			if gap := r.at.Sub(requests[i+1].at); gap < 7500*time.Millisecond || gap > 9*time.Second {
				t.Fatalf("polled %v after the last time", gap)
			}
			if r.url != changesX+"?since="+since {
				t.Fatalf("polled %s", r.url)
			}
			if tag := r.header.Get("If-None-Match"); i > 0 && tag != `W/"`+since+".."+since+`"` {
				t.Fatalf("poll %d: If-None-Match is %q", i, tag)
			}
		}
		w.wantEvents("a=1 @" + since)
		f.put("b", `2`)
		w.pass(9 * time.Second)
		w.wantEvents("b=2 @0k00001-2")
	})
}

func TestFollowPollsNoFeed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.handshake = http.StatusNotFound
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("@")
		w.pass(time.Hour)
		w.wantEvents("")
		if n := len(f.reads()); n > 100 {
			t.Fatalf("%d reads in an hour of nothing", n)
		}
		f.put("a", `1`)
		w.pass(maxPoll * 6 / 5)
		w.wantEvents("a=1 @0k00001-1")
	})
}

func TestFollowReadFailures(t *testing.T) {
	tests := []struct {
		status     int
		code       string
		retryAfter string
		final      bool
	}{
		{status: 401, code: "unauthorized", final: true},
		{status: 403, code: "", final: true},
		{status: 400, code: "bad_name", final: true},
		{status: 400},
		{status: 404},
		{status: 404, code: "not_found"},
		{status: 408, code: "slow"},
		{status: 429, code: "too_many", retryAfter: "9"},
		{status: 500, code: "internal"},
		{status: 502},
		{status: 503, code: "behind", retryAfter: "2"},
		{status: 503, code: "overload", retryAfter: "120"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.status, " ", test.code), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `1`)
				c, _ := serve(t, f)
				w := startWatch(t, c, FollowOptions{Since: since})
				w.wantEvents("@" + since)
				f.with(func() {
					f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
						f.with(func() { f.fault = nil })
						if test.retryAfter != "" {
							w.Header().Set("Retry-After", test.retryAfter)
						}
						if test.code == "" {
							w.WriteHeader(test.status)
						} else {
							sendProblem(w, test.status, test.code, nil)
						}
						return true
					}
				})
				f.put("a", `2`)
				if test.final {
					if p, ok := errors.AsType[*Problem](w.wantErr()); !ok || p.Status != test.status {
						t.Fatalf("ended with %v", w.err)
					}
					return
				}
				w.wantEvents("")
				if p, ok := errors.AsType[*Problem](w.status().Err); !ok || p.Status != test.status {
					t.Fatalf("reported %v", w.status().Err)
				}
				upTo := minBackoff
				if test.retryAfter != "" {
					after, _ := time.ParseDuration(test.retryAfter + "s")
					f.put("b", `1`) // does not hurry it
					w.pass(after - time.Millisecond)
					w.wantEvents("")
					upTo = after/2 + time.Millisecond
				}
				w.pass(upTo)
				w.wantSame(f)
				if s := w.status(); s.Err != nil || s.Mode != Live {
					t.Fatalf("status %+v", s)
				}
			})
		})
	}
}

func TestFollowPollsASickServerSlowly(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.handshake = http.StatusNotFound
		f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.pass(time.Hour)
		if n := len(f.reads()); n < 50 || n > 70 {
			t.Fatalf("%d reads in an hour, want about one a minute", n)
		}
		if n := len(f.dialled()); n < 100 || n > 500 {
			t.Fatalf("%d connections in an hour, want about one every 15 s", n)
		}
	})
}

func TestFollowHonoursRetryAfterAcrossAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.with(func() {
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
				f.with(func() { f.fault = nil })
				w.Header().Set("Retry-After", "100")
				sendProblem(w, http.StatusServiceUnavailable, "overload", nil)
				return true
			}
		})
		f.put("a", `2`)
		w.settle()
		n.cut()
		w.pass(99 * time.Second)
		w.wantMode(Live)
		w.wantEvents("")
		w.pass(time.Second)
		w.wantSame(f) // the new subscription makes it the earliest moment that was allowed
	})
}

func TestFollowArguments(t *testing.T) {
	c, err := New("http://doorbell.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, feed := range []string{"", "Prices", "a:", "a/b", "..", "a:b c", "a:é"} {
		for _, err := range c.Follow(t.Context(), feed, FollowOptions{}) {
			if !errors.Is(err, ErrFeedName) {
				t.Errorf("%q: ended with %v", feed, err)
			}
		}
	}
	for _, err := range c.Follow(t.Context(), feedX, FollowOptions{Since: "1042"}) {
		if err == nil {
			t.Error("a bare seq was taken as Since")
		}
	}
}

func TestPollClock(t *testing.T) {
	var p pollClock
	want := func(d time.Duration) {
		t.Helper()
		if p.get() != d {
			t.Fatalf("interval is %v, want %v", p.get(), d)
		}
		for range 100 {
			if first, next := p.first(), p.next(); first < 0 || first >= d || next < d || next >= d*6/5 {
				t.Fatalf("first %v, next %v at an interval of %v", first, next, d)
			}
		}
	}
	want(time.Second)
	for range 2 {
		p.answered(false, 0)
	}
	want(time.Second)
	p.answered(false, 0)
	want(1500 * time.Millisecond)
	p.failed()
	want(3 * time.Second)
	p.answered(true, 0)
	want(1500 * time.Millisecond)
	p.answered(true, 0)
	want(time.Second)
	for range 10 {
		p.failed()
	}
	want(time.Minute)
	p.answered(true, 5*time.Second)
	want(5 * time.Second)
	p.answered(false, 10*time.Minute)
	want(10 * time.Minute)
	p.failed()
	want(10 * time.Minute)
}

func TestBackoff(t *testing.T) {
	var longest [8]time.Duration
	for range 1000 {
		var b backoff
		for i := range longest {
			longest[i] = max(longest[i], b.next())
		}
		for range 100 {
			if d := b.next(); d < 0 || d >= maxBackoff {
				t.Fatalf("delay of %v", d)
			}
		}
	}
	for i, got := range longest {
		bound := min(minBackoff<<i, maxBackoff)
		if got >= bound || got < bound*9/10 {
			t.Errorf("the longest delay number %d of a thousand is %v, want nearly %v", i, got, bound)
		}
	}
}

// Whatever happens on the way, what a follower builds is the feed in the end.
func TestFollowConverges(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			f := newFake()
			f.pageSize = 1 + rng.IntN(6)
			f.etags = rng.IntN(2) == 0
			if rng.IntN(4) == 0 {
				f.handshake = http.StatusNotFound
			}
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
				f.mu.Lock()
				bad := rng.IntN(10) == 0
				f.mu.Unlock()
				if bad {
					w.WriteHeader(http.StatusBadGateway)
				}
				return bad
			}
			c, n := serve(t, f)
			w := startWatch(t, c, FollowOptions{})
			for range 150 {
				f.mu.Lock()
				what, key := rng.IntN(40), fmt.Sprintf("k%d", rng.IntN(12))
				pause := time.Duration(rng.IntN(1500)) * time.Millisecond
				f.mu.Unlock()
				switch {
				case what < 22:
					f.put(key, fmt.Sprint(what))
				case what < 32:
					f.del(key)
				case what == 32:
					f.purge()
				case what == 33:
					f.trim(f.seq - 4)
				case what == 34:
					f.drop()
				case what == 35:
					n.cut()
				case what == 36:
					n.setDown(true)
				case what == 37:
					n.setDown(false)
				case what == 38:
					f.broadcast(`{"degraded":true}`)
				default:
					f.closeAll(1012, "restart")
				}
				if pause < time.Second {
					w.pass(pause)
				}
			}
			n.setDown(false)
			f.with(func() { f.fault = nil })
			f.put("end", `1`)
			w.pass(3 * maxPoll)
			w.wantSame(f)
			w.stop()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}
