package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

var broadcastChecks = []check{
	{"BroadcastsReachAllNodesInOrder", 2, broadcastsReachAllNodesInOrder},
	{"GapIsToldAtFirstAndAfterLoss", 2, gapIsToldAtFirstAndAfterLoss},
	{"SlowListenersAreToldOfAGap", 1, slowListenersAreToldOfAGap},
	{"StoppedListenersHearNothing", 1, stoppedListenersHearNothing},
	{"EntriesAreKeptUntilTheirTime", 2, entriesAreKeptUntilTheirTime},
	{"TooLargeIsRefused", 1, tooLargeIsRefused},
	{"ClosedBusSaysAndKeepsNothing", 1, closedBusSaysAndKeepsNothing},
}

// broadcaster is what a node broadcasts with; it skips the test when it doesn't.
func (e *env) broadcaster(b bus.Bus) bus.Broadcaster {
	e.Helper()
	c, ok := b.(bus.Broadcaster)
	if !ok {
		e.Skip("this implementation can't broadcast")
	}
	return c
}

func (e *env) keeper(b bus.Bus) bus.Keeper {
	e.Helper()
	k, ok := b.(bus.Keeper)
	if !ok {
		e.Skip("this implementation keeps no entries")
	}
	return k
}

// gap stands for a call of Gap among the messages.
const gap = "(gap)"

// listener writes down what it hears, one call at a time.
type listener struct {
	e    *env
	hook func(message string) // called before it's written down; may be nil

	mu      sync.Mutex
	heard   []string
	changed chan struct{} // closed at the next call
}

func (e *env) hear(b bus.Bus, topic string, hook func(string)) (*listener, func()) {
	l := &listener{e: e, hook: hook, changed: make(chan struct{})}
	return l, e.broadcaster(b).Listen(topic, l)
}

func (l *listener) Hear(message []byte) { l.note(string(message)) }
func (l *listener) Gap()                { l.note(gap) }

func (l *listener) note(s string) {
	if l.hook != nil {
		l.hook(s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, s)
	close(l.changed)
	l.changed = make(chan struct{})
}

// until waits for ok of what has been heard.
func (l *listener) until(what string, ok func(heard []string) bool) {
	l.e.Helper()
	late := time.After(l.e.patience)
	for {
		l.mu.Lock()
		is, changed, heard := ok(l.heard), l.changed, slices.Clone(l.heard)
		l.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-late:
			l.e.Fatalf("waited for %s in vain; heard %q", what, heard[max(0, len(heard)-20):])
		}
	}
}

func (l *listener) await(message string) {
	l.e.Helper()
	l.until(message, func(heard []string) bool { return slices.Contains(heard, message) })
}

// gaps waits for so many gaps.
func (l *listener) gaps(n int) {
	l.e.Helper()
	l.until(fmt.Sprintf("%d gaps", n), func(heard []string) bool { return count(heard, gap) >= n })
}

func count(all []string, what string) (n int) {
	for _, s := range all {
		if s == what {
			n++
		}
	}
	return n
}

func (e *env) broadcast(b bus.Bus, topic, message string) {
	e.Helper()
	if err := e.broadcaster(b).Broadcast(e.Context(), topic, []byte(message)); err != nil {
		e.Fatalf("Broadcast: %v", err)
	}
}

func broadcastsReachAllNodesInOrder(e *env) {
	own, stopOwn := e.hear(e.first(), "talk", nil)
	defer stopOwn()
	far, stopFar := e.hear(e.other(), "talk", nil)
	defer stopFar()
	deaf, stopDeaf := e.hear(e.first(), "else", nil)
	defer stopDeaf()
	for _, l := range []*listener{own, far, deaf} {
		l.gaps(1)
	}
	var want []string
	for i := range 100 {
		message := fmt.Sprintf("%d \x00 words\n%s", i, strings.Repeat("x", i*100))
		want = append(want, message)
		e.broadcast(e.first(), "talk", message)
	}
	e.broadcast(e.first(), "else", "end")
	for _, l := range []*listener{own, far} {
		l.await(want[len(want)-1])
		l.mu.Lock()
		if got := slices.DeleteFunc(slices.Clone(l.heard), func(s string) bool { return s == gap }); !slices.Equal(got, want) {
			e.Errorf("heard %d messages in this order: %.100q", len(got), got)
		}
		l.mu.Unlock()
	}
	deaf.until("the end alone", func(heard []string) bool { return slices.Equal(heard, []string{gap, "end"}) })
}

func gapIsToldAtFirstAndAfterLoss(e *env) {
	if e.Interrupt == nil {
		e.Skip("this implementation can't be interrupted")
	}
	l, stop := e.hear(e.first(), "talk", nil)
	defer stop()
	alive := e.listen(e.first())
	l.gaps(1)
	e.Interrupt()
	alive.awaitAlive(false)
	if err := e.broadcaster(e.first()).Broadcast(e.Context(), "talk", []byte("lost")); !errors.Is(err, bus.ErrUnavailable) {
		e.Errorf("Broadcast: %v, want ErrUnavailable", err)
	}
	if _, err := e.keeper(e.first()).Kept(e.Context(), "set", 10); !errors.Is(err, bus.ErrUnavailable) {
		e.Errorf("Kept: %v, want ErrUnavailable", err)
	}
	late, stopLate := e.hear(e.first(), "talk", nil) // begins while there's nothing to hear
	defer stopLate()
	e.Resume()
	l.gaps(2)
	late.gaps(1)
	alive.awaitAlive(true)
	e.broadcast(e.other(), "talk", "found")
	l.await("found")
	late.await("found")
}

func slowListenersAreToldOfAGap(e *env) {
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	slow, stop := e.hear(e.first(), "talk", func(message string) {
		if message == "0" {
			entered <- struct{}{}
			<-gate
		}
	})
	defer stop()
	quick, stopQuick := e.hear(e.first(), "talk", nil)
	defer stopQuick()
	slow.gaps(1)
	quick.gaps(1)
	e.broadcast(e.first(), "talk", "0")
	e.receive(entered, "a message")
	const most = 5000
	for i := range most {
		e.broadcast(e.first(), "talk", fmt.Sprint(i+1))
	}
	quick.await(fmt.Sprint(most)) // nobody waits for the slow one
	if e.bubble {
		synctest.Wait()
	}
	close(gate)
	slow.gaps(2)
	slow.await(fmt.Sprint(most))
	if n := len(slow.heard); n > most {
		e.Errorf("the slow listener has heard all %d", n)
	}
}

func stoppedListenersHearNothing(e *env) {
	stopped, stop := e.hear(e.first(), "talk", nil)
	keep, stopKeep := e.hear(e.first(), "talk", nil)
	defer stopKeep()
	keep.gaps(1)
	stopped.gaps(1)
	stop()
	stop()
	e.broadcast(e.first(), "talk", "after")
	keep.await("after")
	if len(stopped.heard) != 1 { // the gap; the race detector minds what is written now
		e.Errorf("heard %q after it had been stopped", stopped.heard)
	}
}

func entriesAreKeptUntilTheirTime(e *env) {
	keep := func(b bus.Bus, text string, until time.Time) {
		e.Helper()
		if err := e.keeper(b).Keep(e.Context(), "set", bus.Entry{Text: text, Until: until}); err != nil {
			e.Fatalf("Keep: %v", err)
		}
	}
	soon, later := time.Now().Add(time.Second).Truncate(time.Millisecond), time.Now().Add(time.Hour).Truncate(time.Millisecond)
	keep(e.first(), "a b\nc", later)
	keep(e.other(), "a b\nc", soon) // does not shorten it
	keep(e.first(), "longer", soon)
	keep(e.first(), "longer", later)
	keep(e.other(), "short", soon)
	keep(e.other(), "over", time.Now().Add(-time.Second))
	many := make([]bus.Entry, 2500)
	for i := range many {
		many[i] = bus.Entry{Text: fmt.Sprint(i), Until: later}
	}
	if err := e.keeper(e.first()).Keep(e.Context(), "many", many...); err != nil {
		e.Fatalf("Keep: %v", err)
	}
	e.pass(time.Until(soon) + 10*time.Millisecond)
	for _, node := range e.Nodes {
		got := e.kept(node, "set")
		if len(got) != 2 || !got["a b\nc"].Equal(later) || !got["longer"].Equal(later) {
			e.Errorf("kept %v", got)
		}
		if n := len(e.kept(node, "many")); n != len(many) {
			e.Errorf("kept %d of %d", n, len(many))
		}
		if n := len(e.kept(node, "none")); n != 0 {
			e.Errorf("kept %d of nothing", n)
		}
	}
	if e.Forget == nil {
		return
	}
	e.Forget()
	if got := e.kept(e.first(), "set"); len(got) != 0 {
		e.Errorf("kept %v although all was forgotten", got)
	}
}

func (e *env) kept(b bus.Bus, set string) map[string]time.Time {
	e.Helper()
	entries, err := e.keeper(b).Kept(e.Context(), set, 1_000_000)
	if err != nil {
		e.Fatalf("Kept: %v", err)
	}
	all := make(map[string]time.Time)
	for _, entry := range entries {
		all[entry.Text] = entry.Until
	}
	return all
}

func tooLargeIsRefused(e *env) {
	b, k := e.broadcaster(e.first()), e.keeper(e.first())
	if err := b.Broadcast(e.Context(), "talk", make([]byte, bus.MaxBroadcast+1)); !errors.Is(err, bus.ErrTooLarge) {
		e.Errorf("Broadcast: %v, want ErrTooLarge", err)
	}
	large := bus.Entry{Text: strings.Repeat("x", bus.MaxEntry+1), Until: time.Now().Add(time.Hour)}
	if err := k.Keep(e.Context(), "set", bus.Entry{Text: "a", Until: large.Until}, large); !errors.Is(err, bus.ErrTooLarge) {
		e.Errorf("Keep: %v, want ErrTooLarge", err)
	}
	for _, bad := range []string{"", "a b", "A", "a:b", strings.Repeat("a", bus.MaxTopic+1)} {
		if err := b.Broadcast(e.Context(), bad, nil); err == nil {
			e.Errorf("the topic %q was taken", bad)
		}
		if err := k.Keep(e.Context(), bad, bus.Entry{Text: "a", Until: large.Until}); err == nil {
			e.Errorf("the set %q was taken", bad)
		}
		if _, err := k.Kept(e.Context(), bad, 1); err == nil {
			e.Errorf("the set %q was read", bad)
		}
	}
	if got := e.kept(e.first(), "set"); len(got) != 0 {
		e.Errorf("kept %v", got)
	}
}

func closedBusSaysAndKeepsNothing(e *env) {
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	l, stop := e.hear(e.first(), "talk", func(string) {
		select {
		case entered <- struct{}{}:
			<-gate
		default:
		}
	})
	defer stop()
	e.receive(entered, "the gap")
	var closing group
	closing.do(func() {
		if err := e.first().Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
		if len(l.heard) == 0 { // the race detector minds what is written now
			e.Errorf("Close did not wait for the call")
		}
	})
	loiter()
	close(gate)
	closing.wait()
	ctx := context.WithoutCancel(e.Context())
	if err := e.broadcaster(e.first()).Broadcast(ctx, "talk", nil); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Broadcast: %v, want ErrClosed", err)
	}
	if err := e.keeper(e.first()).Keep(ctx, "set"); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Keep: %v, want ErrClosed", err)
	}
	if _, err := e.keeper(e.first()).Kept(ctx, "set", 1); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Kept: %v, want ErrClosed", err)
	}
	_, stopLate := e.hear(e.first(), "talk", func(string) { e.Errorf("called after Close") })
	stopLate()
}
