package doorbell

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFollowResetOfEpoch(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.put("b", `1`)
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("a=1 b=1 @0k00001-2")
		f.reads()

		f.drop() // signalled as <new epoch>-0, reads as empty
		w.wantEvents("reset @0k00002-0")
		wantReads(t, f, snapshotX+"?at_least=0k00002-0") // straight to the snapshot
		f.put("c", `1`)
		w.wantEvents("c=1 @0k00002-1")
		w.wantSame(f)

		w.pass(time.Minute)
		n.setDown(true)
		f.drop()
		f.put("d", `1`)
		n.setDown(false)
		w.pass(time.Minute)
		w.wantEvents("reset d=1 @0k00003-1")
		w.wantSame(f)
	})
}

func TestFollowResetByTheServer(t *testing.T) {
	tests := []struct {
		name  string
		since string // "" for an old one
		head  string
	}{
		{"below the floor", "0k00001-1", "0k00001-4"},
		{"an older epoch", "0k00000-9", "0k00001-4"},
		{"a newer epoch", "0k00009-1", "0k00001-4"},
		{"ahead of the head", "0k00001-99", "0k00001-4"},
		{"below the floor in a walk", "0k00001-1~2", "0k00001-4"},
	}
	for _, test := range tests {
		for _, polling := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, polling %v", test.name, polling), func(t *testing.T) {
				inBubble(t, func(t *testing.T, f *fake) {
					f.put("a", `1`)
					f.put("b", `1`)
					f.put("c", `1`)
					f.del("b")
					f.purge()
					if polling {
						f.handshake = http.StatusNotFound
					}
					c, _ := serve(t, f)
					w := startWatch(t, c, FollowOptions{Since: test.since})
					w.wantEvents("reset a=1 c=1 @" + test.head)
					w.wantSame(f)
				})
			})
		}
	}
}

func TestFollowRewoundUnderneath(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		for i := range 5 {
			f.put("a", fmt.Sprint(i))
		}
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("a=4 @0k00001-5")
		// The server has lost the last changes and doesn't say so by an epoch.
		f.with(func() { f.seq, f.rows = 2, map[string]Change{"a": {Key: "a", Seq: 2, Value: []byte(`1`)}} })
		n.cut()
		w.pass(time.Minute)
		w.wantEvents("reset a=1 @0k00001-2")
		f.put("b", `1`)
		w.wantEvents("b=1 @0k00001-3")
		w.wantSame(f)
	})
}

// answerOnce answers the next read with body in the place of the server.
func (f *fake) answerOnce(body string) {
	f.with(func() {
		f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			f.with(func() { f.fault = nil })
			_, _ = io.WriteString(w, body)
			return true
		}
	})
}

func TestFollowIgnoresWhatDoesNotFit(t *testing.T) {
	tests := []struct{ name, answer string }{
		{"a delta since elsewhere", `{"feed":"prices:X","since":"0k00001-1","cursor":"0k00001-3","changes":[{"key":"bad","seq":3,"value":1}]}`},
		{"a snapshot in the place of a delta", `{"feed":"prices:X","cursor":"0k00001-3","items":[{"key":"bad","seq":3,"value":1}]}`},
		{"a delta that goes back", `{"feed":"prices:X","since":"0k00001-2","cursor":"0k00001-1","changes":[]}`},
		{"a delta of another epoch", `{"feed":"prices:X","since":"0k00001-2","cursor":"0k00002-3","changes":[]}`},
		{"less than asked for", `{"feed":"prices:X","since":"0k00001-2","cursor":"0k00001-2","changes":[]}`},
		{"a page that leads nowhere", `{"feed":"prices:X","since":"0k00001-2","cursor":"0k00001-2","more":true,"changes":[]}`},
		{"no cursor", `{"feed":"prices:X","since":"0k00001-2","changes":[]}`},
		{"a portal's page", `<html>please log in</html>`},
		{"nothing", ``},
		{"too short", `{"feed":"prices:X","since":"0k00001-2","cur`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				f.put("a", `1`)
				since := f.put("a", `2`)
				c, _ := serve(t, f)
				w := startWatch(t, c, FollowOptions{Since: since})
				w.wantEvents("@" + since)
				f.answerOnce(test.answer)
				f.put("a", `3`)
				w.wantEvents("")
				if w.status().Err == nil {
					t.Fatal("nothing is reported")
				}
				w.pass(minBackoff)
				w.wantEvents("a=3 @0k00001-3")
				if err := w.status().Err; err != nil {
					t.Fatalf("still reported: %v", err)
				}
			})
		})
	}
}

func TestFollowIgnoresAnOlderSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		for i := range 3 {
			f.put(fmt.Sprintf("k%d", i), `1`)
		}
		f.del("k0")
		f.purge()
		f.put("k3", `1`)
		f.with(func() {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.RequestURI, changesX) {
					return false
				}
				f.with(func() { f.fault = nil })
				_, _ = io.WriteString(w, `{"feed":"prices:X","cursor":"0k00001-2","items":[{"key":"k0","seq":1,"value":1}]}`)
				return true
			}
		})
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: "0k00001-3"}) // below the floor: 410, and then some cache's old snapshot
		w.wantEvents("")
		w.pass(minBackoff)
		w.wantEvents("reset k1=1 k2=1 k3=1 @0k00001-5")
	})
}

func TestFollowResetLoop(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.drop()
		w.wantEvents("reset @0k00002-0")
		f.drop()
		w.wantEvents("reset @0k00003-0")
		f.drop()
		w.wantEvents("")
		if !errors.Is(w.status().Err, ErrResetLoop) {
			t.Fatalf("reported %v", w.status().Err)
		}
		f.put("b", `1`)
		w.pass(resetRest - time.Second)
		w.wantEvents("")
		w.pass(resetRest + time.Second)
		w.wantEvents("reset b=1 @0k00004-1")
		if err := w.status().Err; err != nil {
			t.Fatalf("still reported: %v", err)
		}
		// Resets that are further apart are ordinary.
		for range 4 {
			w.pass(6 * time.Second)
			f.drop()
			w.settle()
			if got := w.events(); !strings.HasPrefix(got, "reset @") {
				t.Fatalf("events %q", got)
			}
		}
	})
}

func TestFollowResetLoopOfOneAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.with(func() {
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
				sendProblem(w, http.StatusGone, "reset", map[string]any{"snapshot": snapshotX + "?at_least=0k00001-1"})
				return true
			}
		})
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: "0k00000-1"})
		w.pass(time.Hour)
		if n := len(f.reads()); n > 3*3600/15 {
			t.Fatalf("%d reads in an hour", n)
		}
		f.with(func() { f.fault = nil })
		w.pass(time.Minute)
		w.wantEvents("reset a=1 @0k00001-1")
	})
}
