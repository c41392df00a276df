package doorbell

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestFollowCoalesces(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		hold, reached := make(chan struct{}), make(chan struct{}, 1)
		f.fault = func(w http.ResponseWriter, r *http.Request) bool {
			reached <- struct{}{}
			<-hold
			return false
		}
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.put("a", `2`)
		<-reached // the pull is in flight, held before the data is read
		f.put("a", `3`)
		hold <- struct{}{}
		w.wantEvents("a=3 @0k00001-3") // the answer already covers the newer signal
		wantReads(t, f, changesX+"?since="+since+"&at_least=0k00001-2")

		// And now the answer is older than the signal that came meanwhile.
		f.with(func() {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				f.with(func() { f.fault = nil })
				f.ServeHTTP(w, r)
				for range 5 {
					f.put("a", `4`)
				}
				return true
			}
		})
		f.put("a", `3`)
		w.settle()
		f.reads()
		w.wantEvents("a=3 @0k00001-4 a=4 @0k00001-9")
		w.wantSame(f)
	})
}

func TestFollowSlowConsumer(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		c, _ := serve(t, f)
		hold := make(chan struct{})
		w := startWatch(t, c, FollowOptions{Since: since}, func(e Event) {
			if e.Kind == Changed {
				<-hold
			}
		})
		w.settle()
		f.put("a", `1`)
		w.settle()
		for i := range 50 {
			f.put("a", fmt.Sprint(i+2))
		}
		w.pass(10 * time.Minute) // the socket stays alive meanwhile
		close(hold)
		w.wantEvents("@0k00001-1 a=1 @0k00001-2 a=51 @0k00001-52")
		if n := len(f.dialled()); n != 1 {
			t.Fatalf("%d connections, want 1", n)
		}
	})
}

func TestFollowSpread(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.with(func() { f.spread = time.Minute })
		var waited time.Duration
		for i := range 20 {
			began := time.Now()
			f.put("a", fmt.Sprint(i))
			f.put("a", fmt.Sprint(i)) // does not put the pull off
			w.pass(time.Minute)
			if reads := f.requests; len(reads) != 1 {
				t.Fatalf("%d reads, want 1", len(reads))
			}
			waited += f.requests[0].at.Sub(began)
			f.reads()
		}
		if mean := waited / 20; mean < 10*time.Second || mean > 50*time.Second {
			t.Fatalf("reads came %v after the signal on average, want about 30 s", mean)
		}
		w.wantSame(f)
	})
}

func TestFollowSpreadIsNotPutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.with(func() { f.spread = 10 * time.Second })
		for range 20 { // signals without end
			for i := range 10 {
				f.put("a", fmt.Sprint(i))
				w.pass(time.Second)
			}
			if len(f.reads()) == 0 {
				t.Fatal("no read within the spread of a signal")
			}
		}
	})
}

func TestFollowIsQuickAgainAfterALongBreak(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, n := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		for range 10 {
			n.setDown(true)
			w.pass(10 * time.Minute)
			n.setDown(false)
			f.put("a", `2`)
			w.pass(maxPoll * 6 / 5)
			w.wantSame(f)
			w.pass(stableAfter)
			n.cut()
			w.wantMode(Polling)
			w.pass(minBackoff)
			w.wantMode(Live)
			// The same for a read.
			f.answerOnce("")
			f.put("a", `3`)
			w.pass(minBackoff)
			w.wantSame(f)
			w.pass(stableAfter)
		}
	})
}

func TestFollowSpreadIsOverWithThePull(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		// A signal that comes during a pull whose answer covers it leaves nothing behind, however long its spread.
		f.with(func() {
			f.fault = func(http.ResponseWriter, *http.Request) bool {
				f.with(func() { f.fault, f.spread = nil, time.Millisecond })
				f.put("a", `3`)
				return false
			}
		})
		f.put("a", `2`)
		w.wantEvents("a=3 @0k00001-3")
		w.pass(time.Minute)
		f.with(func() { f.spread = 10 * time.Minute })
		f.put("a", `4`)
		w.wantEvents("")
		w.pass(10 * time.Minute)
		w.wantEvents("a=4 @0k00001-4")
	})
}
