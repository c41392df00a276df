package doorbell

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestFollowDegraded(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.broadcast(`{"degraded":true}`)
		w.wantMode(Polling)
		f.with(func() { f.silent = true })
		f.put("a", `2`)
		w.pass(2 * minPoll)
		w.wantEvents("a=2 @0k00001-2")
		f.with(func() { f.silent = false })
		f.put("a", `3`) // the socket is still heard
		w.wantEvents("a=3 @0k00001-3")
		f.broadcast(`{"degraded":false}`)
		w.wantMode(Live)
		f.reads()
		w.pass(time.Hour)
		wantReads(t, f)
		if n := len(f.dialled()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
	})
}

func TestFollowUnknownHead(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.subscribed = func(string) string { return `{"id":1,"subscribed":{"prices:X":null}}` }
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("a=1 @0k00001-1")
		wantReads(t, f, snapshotX)
		w.wantMode(Polling)
		f.with(func() { f.silent = true })
		f.put("a", `2`)
		w.pass(2 * minPoll)
		w.wantEvents("a=2 @0k00001-2")
		f.with(func() { f.silent = false })
		f.put("a", `3`)
		w.wantEvents("a=3 @0k00001-3")
		w.wantMode(Live) // a head has come
		f.reads()
		w.pass(time.Hour)
		wantReads(t, f)
	})
}

func TestFollowLateSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.subscribed = func(string) string { return "" }
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("")
		w.pass(firstSignalWithin)
		w.wantEvents("a=1 @0k00001-1") // without any signal
		w.pass(subscribeTimeout)
		w.wantMode(Polling)
		f.broadcast(`{"subscribed":{"prices:X":"0k00001-1"}}`)
		w.wantMode(Live)
		if n := len(f.dialled()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
	})
}

func TestFollowGoaway(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		w.pass(time.Minute)
		f.dialled()
		var delays time.Duration
		for range 20 {
			began := time.Now()
			f.broadcast(`{"goaway":{"reason":"drain","in_ms":30000}}`)
			w.pass(30 * time.Second)
			at := f.dialled()
			if len(at) != 1 {
				t.Fatalf("%d connections, want 1", len(at))
			}
			delays += at[0].Sub(began)
			w.pass(stableAfter)
		}
		if mean := delays / 20; mean < 5*time.Second || mean > 25*time.Second {
			t.Fatalf("reconnects came after %v on average, want about 15 s", mean)
		}
		for _, s := range w.statuses {
			if s.Mode == Polling || s.Err != nil {
				t.Fatalf("a goaway is nothing to report, but %+v was", s)
			}
		}
		wantReads(t, f) // every new subscription said: nothing new
		if n := len(f.subscribers()); n != 1 {
			t.Fatalf("%d connections are open, want 1", n)
		}
		f.put("a", `2`)
		w.wantEvents("a=2 @0k00001-2")
	})
}

func TestFollowGoawayEndlessly(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.subscribed = func(string) string { return `{"goaway":{"in_ms":0}}` }
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantMode(Polling)
		w.pass(10 * time.Minute)
		if n := len(f.dialled()); n > 100 {
			t.Fatalf("%d connections in ten minutes", n)
		}
		w.wantEvents("a=1 @0k00001-1")
	})
}

func TestFollowCloseCodes(t *testing.T) {
	tests := []struct {
		code     int
		reason   string
		final    bool
		min, max time.Duration // until the next connection
	}{
		{1001, "going away", false, 0, minBackoff},
		{1012, "restart", false, 0, minBackoff},
		{4008, "dead", false, 0, minBackoff},
		{4000, "from the future", false, 0, minBackoff},
		{4029, "retry in 12s", false, 12 * time.Second, 15 * time.Second},
		{4029, "2500 ms", false, 2500 * time.Millisecond, 3125 * time.Millisecond},
		{4029, "too many connections; retry_after=8", false, 8 * time.Second, 10 * time.Second},
		{4029, "too many", false, tooManyDelay, tooManyDelay * 5 / 4},
		{4001, "expired", true, 0, 0},
		{4003, "forbidden", true, 0, 0},
		{4009, "too large", true, 0, 0},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.code, " ", test.reason), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `1`)
				c, _ := serve(t, f)
				w := startWatch(t, c, FollowOptions{Since: since})
				w.wantEvents("@" + since)
				w.pass(time.Minute)
				f.dialled()
				began := time.Now()
				f.closeAll(test.code, test.reason)
				if test.final {
					refused, ok := errors.AsType[*Refused](w.wantErr())
					if !ok || refused.Code != test.code || refused.Reason != test.reason {
						t.Fatalf("ended with %v", w.err)
					}
					return
				}
				w.wantMode(Polling)
				w.pass(test.max)
				at := f.dialled()
				if len(at) != 1 {
					t.Fatalf("%d connections, want 1", len(at))
				}
				if delay := at[0].Sub(began); delay < test.min {
					t.Fatalf("connected after %v, want %v at least", delay, test.min)
				}
				w.wantMode(Live)
			})
		})
	}
}

func TestFollowDenied(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.subscribed = func(string) string { return `{"id":1,"subscribed":{},"denied":{"prices:X":"forbidden"}}` }
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		refused, ok := errors.AsType[*Refused](w.wantErr())
		if !ok || refused.Reason != "forbidden" || refused.Code != 0 {
			t.Fatalf("ended with %v", w.err)
		}
	})
}

func TestFollowHandshakeRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.handshake = http.StatusForbidden // a proxy's, for all that is known
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("a=1 @0k00001-1")
		w.wantMode(Polling)
		f.put("a", `2`)
		w.pass(2 * minPoll)
		w.wantEvents("a=2 @0k00001-2")
		f.with(func() { f.handshake = 0 })
		w.pass(maxBackoff)
		w.wantMode(Live)
	})
}

func TestFollowSilentGateway(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		f.pingMS = 10_000
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		w.pass(24 * time.Hour) // pings of its own are answered
		w.wantMode(Live)
		if at := f.dialled(); len(at) != 1 {
			t.Fatalf("%d connections, want 1", len(at))
		}
		// From now on a half-open connection: what is sent arrives, nothing comes back.
		n.mu.Lock()
		n.mute = true
		n.mu.Unlock()
		for _, s := range f.subscribers() {
			s.mute.Store(true)
		}
		w.pass(10*time.Second + answerTimeout)
		w.wantMode(Polling)
		if w.status().Err == nil {
			t.Fatal("no error is reported")
		}
	})
}

func TestFollowGatewayThatSaysNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		c, n := serve(t, f)
		n.mute = true
		w := startWatch(t, c, FollowOptions{})
		w.pass(dialTimeout)
		w.wantMode(Polling)
		n.mu.Lock()
		n.mute = false
		n.mu.Unlock()
		w.pass(readTimeout + maxPoll)
		w.wantEvents("a=1 @0k00001-1")
		w.wantMode(Live)
	})
}

func TestFollowBadFrames(t *testing.T) {
	for _, bad := range []string{`{`, `[]`, `{"changed":{"prices:X":"nonsense"}}`, `{"subscribed":{"prices:X":"1"}}`, `{"error":{"code":"bad_command"}}`} {
		t.Run(bad, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				since := f.put("a", `1`)
				c, _ := serve(t, f)
				w := startWatch(t, c, FollowOptions{Since: since})
				w.wantEvents("@" + since)
				f.broadcast(`{"changed":{"other":"0k00001-9"},"a_new_member":1}`)
				f.broadcast(`{"something":"new"}`)
				f.broadcast(`{"changed":{"prices:X":null}}`)
				w.wantMode(Live)
				f.broadcast(bad)
				w.wantMode(Polling)
				w.pass(minBackoff)
				w.wantMode(Live)
			})
		})
	}
}

func TestFollowHearsThePingsOfTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		f.pingMS = 10_000
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		s := f.subscribers()[0]
		s.mute.Store(true) // no frames, but WebSocket pings
		for range 100 {
			time.Sleep(9 * time.Second)
			if err := s.conn.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.wantMode(Live)
		if n := len(f.dialled()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
	})
}
