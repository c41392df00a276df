// Package bustest is the conformance suite of [bus.Bus]: each test fails when one line of that contract is broken.
// Every implementation runs it.
//
// Nothing is asserted by sleeping: what has to come is waited for, and what must not come is shown by something later
// having come on the same way (see env.settle).
package bustest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Options say what a test needs.
type Options struct {
	// Nodes is how many buses share the backend, at least 1.
	Nodes int
	// Interval gives the feeds' signal intervals. nil: none has one.
	Interval bus.IntervalFunc
}

// Harness is an implementation under test: its nodes, on one backend that knows nothing yet.
type Harness struct {
	// Nodes are Options.Nodes buses on the same backend. They are one and the same where the implementation can't have
	// several. The suite closes them.
	Nodes []bus.Bus
	// Interrupt cuts Nodes[0] off from the backend, so that it notices within some seconds; Resume ends that. Other nodes
	// may or may not be cut off. nil when that is impossible.
	Interrupt, Resume func()
	// Forget makes the backend lose all heads and marks at once, for nodes that are a bus.Memory. nil when that is impossible.
	Forget func()
}

// Open makes a harness. What it starts beside the nodes it ends in t.Cleanup; a test leaves no goroutines.
type Open func(t *testing.T, opts Options) Harness

// Run runs the suite in real time.
func Run(t *testing.T, open func(t *testing.T, opts Options) Harness) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, open, false) })
	}
}

// RunInBubble runs the suite with each test in a synctest bubble, where time is exact and costs nothing. It's for
// implementations that live within the process.
func RunInBubble(t *testing.T, open func(t *testing.T, opts Options) Harness) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t, open, true) })
		})
	}
}

type check struct {
	name  string
	nodes int
	do    func(*env)
}

func checks() []check {
	return slices.Concat(headChecks, followChecks, deliveryChecks, intervalChecks, answerChecks, lossChecks,
		memoryChecks, broadcastChecks, traceChecks, closeChecks)
}

func (c check) run(t *testing.T, open Open, bubble bool) {
	if !bubble { // a bubble finds what is left by itself
		leaks := goleak.IgnoreCurrent()
		t.Cleanup(func() { // after those of open
			if !t.Failed() {
				goleak.VerifyNone(t, leaks)
			}
		})
	}
	h := open(t, Options{Nodes: max(c.nodes, 1), Interval: intervals(bubble)})
	if len(h.Nodes) < max(c.nodes, 1) {
		t.Fatalf("the harness has %d nodes, the test needs %d", len(h.Nodes), c.nodes)
	}
	defer func() {
		for _, node := range h.Nodes {
			if err := node.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}()
	c.do(&env{T: t, Harness: h, bubble: bubble, patience: 30 * time.Second})
}

// env is what one test works with.
type env struct {
	*testing.T
	Harness
	bubble   bool
	patience time.Duration // how long what has to come may take
	fences   int64
}

// first is the node that most tests are about; other is another one on the same backend, where there is any.
func (e *env) first() bus.Bus { return e.Nodes[0] }
func (e *env) other() bus.Bus { return e.Nodes[len(e.Nodes)-1] }

// at is the cursor of an epoch's seq.
func at(epoch, seq int64) feed.Cursor { return feed.Cursor{Epoch: feed.Epoch(epoch), Seq: seq} }

func name(namespace string, i int) feed.Name {
	return feed.Name(fmt.Sprintf("%s:%d", namespace, i))
}

func names(namespace string, n int) []feed.Name {
	all := make([]feed.Name, n)
	for i := range all {
		all[i] = name(namespace, i)
	}
	return all
}

func (e *env) publish(b bus.Bus, n feed.Name, c feed.Cursor) {
	e.Helper()
	if err := b.Publish(e.Context(), n, c); err != nil {
		e.Fatalf("Publish %s at %q: %v", n, c, err)
	}
}

func (e *env) head(b bus.Bus, n feed.Name) bus.Head {
	e.Helper()
	return e.heads(b, 0, n)[0]
}

func (e *env) heads(b bus.Bus, wait time.Duration, ns ...feed.Name) []bus.Head {
	e.Helper()
	heads, err := b.Heads(e.Context(), ns, wait)
	if err != nil {
		e.Fatalf("Heads of %d feeds: %v", len(ns), err)
	}
	if len(heads) != len(ns) {
		e.Fatalf("Heads of %d feeds gave %d", len(ns), len(heads))
	}
	return heads
}

func (e *env) wantHead(b bus.Bus, n feed.Name, want bus.Head) {
	e.Helper()
	if got := e.head(b, n); got != want {
		e.Errorf("the head of %s is %s, want %s", n, text(got), text(want))
	}
}

func text(h bus.Head) string {
	switch {
	case !h.Known:
		return "unknown"
	case h.Cursor.IsZero():
		return "no such feed"
	}
	return h.Cursor.String()
}

// settle returns when signals that were on their way to the ears have come: it sends others after them, over several
// feeds, as an implementation may have several ways.
func (e *env) settle(ears ...*ear) {
	e.Helper()
	if e.bubble {
		synctest.Wait()
		return
	}
	const ways = 16
	fences := names("fence", ways)
	e.fences++
	for _, n := range fences { // known, so that Follow need not wait
		e.publish(e.other(), n, at(1, e.fences))
	}
	for _, r := range ears {
		e.follow(r, fences...)
	}
	e.fences++
	for _, n := range fences {
		e.publish(e.other(), n, at(1, e.fences))
	}
	for _, r := range ears {
		for _, n := range fences {
			r.await(n, at(1, e.fences))
		}
	}
}

func isFence(n feed.Name) bool { return strings.HasPrefix(string(n), "fence:") }

// pass lets time pass between what a test does.
func (e *env) pass(d time.Duration) { time.Sleep(d) }
