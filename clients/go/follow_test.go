package doorbell

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

const (
	snapshotX = "/v1/feeds/prices:X"
	changesX  = "/v1/feeds/prices:X/changes"
)

// inBubble runs a test of Follow in its own time. The bubble also proves that no goroutine is left.
func inBubble(t *testing.T, test func(t *testing.T, f *fake)) {
	synctest.Test(t, func(t *testing.T) { test(t, newFake()) })
}

func TestFollowFromTheBeginning(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.put("b", `2`)
		f.del("a")
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("b=2 @0k00001-3")
		w.wantMode(Live)
		wantReads(t, f, snapshotX+"?at_least=0k00001-3")

		f.put("c", `{"x":3}`)
		w.wantEvents(`c={"x":3} @0k00001-4`)
		f.del("b")
		w.wantEvents("-b @0k00001-5")
		wantReads(t, f,
			changesX+"?since=0k00001-3&at_least=0k00001-4",
			changesX+"?since=0k00001-4&at_least=0k00001-5")
		w.wantSame(f)
		w.pass(time.Hour) // nothing changes, so nothing is read
		wantReads(t, f)
		if n := len(f.dialled()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
		w.cancel()
		if err := w.wantErr(); !errors.Is(err, context.Canceled) {
			t.Fatalf("ended with %v", err)
		}
	})
}

func TestFollowResumes(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		since := f.put("b", `2`)
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@0k00001-2") // no read: the head says that there is nothing
		wantReads(t, f)
		if got := f.subscribers()[0].since; got != since {
			t.Fatalf("subscribed with %q, want %q", got, since)
		}

		n.setDown(true)
		w.wantMode(Polling)
		f.put("c", `3`)
		f.put("a", `4`)
		w.pass(5 * time.Minute)
		if w.status().Err == nil {
			t.Fatal("no error is reported")
		}
		w.wantEvents("")
		n.setDown(false)
		w.pass(72 * time.Second) // the longest that a poll, or a reconnect, may wait
		w.wantEvents("c=3 a=4 @0k00001-4")
		w.wantMode(Live)
		if err := w.status().Err; err != nil {
			t.Fatalf("still reported: %v", err)
		}
		f.put("d", `5`)
		w.wantEvents("d=5 @0k00001-5")
	})
}

func TestFollowSurvivesAShortBreak(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.dialled()
		n.cut()
		w.wantMode(Polling)
		w.pass(minBackoff) // the first retry is quick
		w.wantMode(Live)
		if n := len(f.dialled()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
		f.put("a", `2`)
		w.wantEvents("a=2 @0k00001-2")
	})
}

func TestFollowResumesWithinAPage(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.pageSize = 3
		for i := range 8 {
			f.put(fmt.Sprintf("k%d", i), `1`)
		}
		c, _ := serve(t, f)
		// Whichever event was the last one applied, going on from its cursor gives the rest.
		wantCursors := []string{"", "", "0k00001-3~8", "0k00001-3~8", "0k00001-3~8", "0k00001-6~8", "0k00001-6~8", "0k00001-8"}
		for stopAfter := 1; stopAfter <= 8; stopAfter++ {
			var state State
			applied := 0
			for e, err := range c.Follow(t.Context(), feedX, FollowOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				state.Apply(e)
				if applied++; applied == stopAfter {
					break
				}
			}
			if state.Cursor != wantCursors[stopAfter-1] {
				t.Fatalf("after %d events at %q, want %q", stopAfter, state.Cursor, wantCursors[stopAfter-1])
			}
			for e, err := range c.Follow(t.Context(), feedX, FollowOptions{Since: state.Cursor}) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Kind == Reset {
					t.Fatal("reset")
				}
				state.Apply(e)
				if e.Kind == CaughtUp {
					break
				}
			}
			if len(state.Items) != 8 {
				t.Fatalf("after a stop at %d: %d items", stopAfter, len(state.Items))
			}
		}
	})
}

func TestFollowWalk(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.pageSize = 2
		for i := range 5 {
			f.put(fmt.Sprintf("k%d", i), `1`)
		}
		f.del("k0")
		f.purge() // the oldest live items are below the floor
		pages := 0
		f.fault = func(http.ResponseWriter, *http.Request) bool {
			if pages++; pages == 2 {
				f.with(func() { f.silent = true })
				f.del("k1") // given on the first page already
				f.put("k5", `1`)
				f.with(func() { f.silent = false })
			}
			return false
		}
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("k1=1 k2=1 k3=1 k4=1 -k1 k5=1 @0k00001-8")
		wantReads(t, f,
			snapshotX+"?at_least=0k00001-6",
			changesX+"?since=0k00001-3~6&at_least=0k00001-6",
			changesX+"?since=0k00001-5~6&at_least=0k00001-6")
		w.wantSame(f)
	})
}

func TestFollowWalkGoesOnAfterAFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.pageSize = 2
		for i := range 5 {
			f.put(fmt.Sprintf("k%d", i), `1`)
		}
		reads := 0
		f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
			if reads++; reads == 2 {
				w.Header().Set("Retry-After", "1") // longer than the reconnect takes
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		}
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("k0=1 k1=1")
		if p, ok := errors.AsType[*Problem](w.status().Err); !ok || p.Status != http.StatusBadGateway {
			t.Fatalf("reported %v", w.status().Err)
		}
		n.cut() // a reconnect in the middle of a walk
		w.pass(2 * time.Second)
		w.wantEvents("k2=1 k3=1 k4=1 @0k00001-5")
		if got := f.subscribers()[0].since; got != "" {
			t.Fatalf("subscribed with %q, which is no head", got)
		}
		w.wantSame(f)
	})
}

func TestFollowTouch(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("a=1 @0k00001-1")
		f.with(func() { f.seq++ })
		f.announce(f.head())
		w.wantEvents("@0k00001-2")
		f.announce(f.head()) // signalled twice
		f.announce("0k00001-1")
		f.announce("0k00000-9") // late, of an epoch that is over
		f.reads()
		w.wantEvents("")
		wantReads(t, f)
	})
}

func TestFollowTrimmed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		for i := range 4 {
			f.put(fmt.Sprintf("k%d", i), `1`)
		}
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.settle()
		w.events()
		f.trim(2)
		f.put("k4", `1`)
		w.wantEvents("trimmed 2 k4=1 @0k00001-5")
		f.put("k5", `1`) // the answer says "trimmed" again
		w.wantEvents("k5=1 @0k00001-6")
		w.wantSame(f)
	})
}

func TestFollowFeedBornLater(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{})
		w.wantEvents("@")
		w.wantMode(Live)
		wantReads(t, f)
		w.pass(time.Hour)
		f.put("a", `1`)
		w.wantEvents("a=1 @0k00001-1")
		wantReads(t, f, snapshotX+"?at_least=0k00001-1")
	})
}

func TestFollowFeedIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		// A 404 while the gateway knows better is somebody's lag.
		f.with(func() {
			f.born, f.subscribed = false, func(string) string { return `{"subscribed":{"prices:X":"` + since + `"}}` }
		})
		f.broadcast(`{"degraded":true}`)
		w.pass(10 * time.Second)
		w.wantEvents("")
		if !IsCode(w.status().Err, "no_feed") {
			t.Fatalf("reported %v", w.status().Err)
		}
		f.with(func() { f.subscribed = nil })
		n.cut()
		w.pass(10 * time.Second)
		w.wantEvents("reset @")
		if len(w.state.Items) != 0 {
			t.Fatalf("left: %v", w.state.Items)
		}
	})
}

func TestFollowLeavesTheLoop(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.put("b", `1`)
		c, _ := serve(t, f)
		events := c.Follow(t.Context(), feedX, FollowOptions{})
		for range 2 { // a sequence may be used twice
			for e, err := range events {
				if err != nil || e.Change.Key != "a" {
					t.Fatal(e, err)
				}
				break
			}
			synctest.Wait()
			if n := len(f.subscribers()); n != 0 {
				t.Fatalf("%d connections left", n)
			}
		}
		func() {
			defer func() { _ = recover() }()
			for range events {
				panic(errTest)
			}
		}()
	})
}

func TestFollowEndsWithinAPage(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		f.put("b", `1`)
		c, _ := serve(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		for e, err := range c.Follow(ctx, feedX, FollowOptions{}) {
			if err != nil {
				got = append(got, err.Error())
				continue
			}
			got = append(got, describe(e))
			cancel()
		}
		if fmt.Sprint(got) != "[a=1 context canceled]" {
			t.Fatal(got)
		}
		for _, err := range c.Follow(ctx, feedX, FollowOptions{}) {
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	})
}
