package bustest

import (
	"fmt"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var traceChecks = []check{
	{"TraceGoesAlongWithItsHead", 2, traceGoesAlongWithItsHead},
	{"IntervalKeepsTheTraceOfTheHead", 2, intervalKeepsTheTraceOfTheHead},
}

// tracedEar is an ear that wants to know traces. What is written down of them is guarded by ear.mu.
type tracedEar struct {
	*ear
	traces map[feed.Name]map[feed.Cursor]string
	plain  map[feed.Name]map[feed.Cursor]bool // signals without one
}

var _ bus.TraceFollower = (*tracedEar)(nil)

func (e *env) listenTraced(b bus.Bus) *tracedEar {
	e.Helper()
	r := &tracedEar{
		ear:    &ear{e: e, newest: make(map[feed.Name]bus.Head), changed: make(chan struct{})},
		traces: make(map[feed.Name]map[feed.Cursor]string), plain: make(map[feed.Name]map[feed.Cursor]bool),
	}
	var err error
	if r.sub, err = b.Subscribe(r); err != nil {
		e.Fatalf("Subscribe: %v", err)
	}
	return r
}

func (r *tracedEar) TracedSignal(n feed.Name, h bus.Head, trace string) {
	if trace == "" {
		r.e.Errorf("%s was signalled with an empty trace", n)
	}
	noted(r.ear, r.traces, n, h, trace)
	r.ear.Signal(n, h)
}

func (r *tracedEar) Signal(n feed.Name, h bus.Head) {
	noted(r.ear, r.plain, n, h, true)
	r.ear.Signal(n, h)
}

func noted[T any](r *ear, to map[feed.Name]map[feed.Cursor]T, n feed.Name, h bus.Head, value T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if to[n] == nil {
		to[n] = make(map[feed.Cursor]T)
	}
	to[n][h.Cursor] = value
}

// of is what the signals of that very head came with.
func (r *tracedEar) of(n feed.Name, c feed.Cursor) (trace string, plain bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.traces[n][c], r.plain[n][c]
}

func (r *tracedEar) wantTrace(n feed.Name, c feed.Cursor, want string) {
	r.e.Helper()
	trace, plain := r.of(n, c)
	if trace != want || plain != (want == "") {
		r.e.Errorf("%s at %s came with the trace %q (without one: %t), want %q", n, c, trace, plain, want)
	}
}

// traceOf makes a trace that differs for each i.
func traceOf(i int) string {
	return fmt.Sprintf("00-4bf92f3577b34da6a3ce929d%08x-00f067aa0ba902b7-01", i)
}

func (e *env) publishTraced(b bus.Bus, n feed.Name, c feed.Cursor, trace string) {
	e.Helper()
	if err := b.Publish(bus.WithTrace(e.Context(), trace), n, c); err != nil {
		e.Fatalf("Publish %s at %q: %v", n, c, err)
	}
}

// traceGoesAlongWithItsHead: it is there when it was given, absent when not, and nothing else is one. Who doesn't want to know
// hears the same signals.
func traceGoesAlongWithItsHead(e *env) {
	const n = feed.Name("trace:1")
	r, plain := e.listenTraced(e.first()), e.listen(e.first())
	e.follow(r.ear, n)
	e.follow(plain, n)
	garbage := []string{
		"x", strings.Repeat("0", bus.TraceBytes), traceOf(1) + "-", traceOf(1)[1:], strings.ToUpper(traceOf(0xabc)),
		strings.Repeat(traceOf(1), 1000), "00-" + strings.Repeat("0", 32) + traceOf(1)[35:],
	}
	seq := int64(0)
	step := func(given, want string) {
		seq++
		e.publishTraced(e.other(), n, at(1, seq), given)
		r.await(n, at(1, seq))
		plain.await(n, at(1, seq))
		r.wantTrace(n, at(1, seq), want)
	}
	for i := range 20 {
		step(traceOf(i), traceOf(i))
		step("", "")
		step(garbage[i%len(garbage)], "")
	}
	e.publishTraced(e.other(), n, at(1, 1), traceOf(99)) // older than the head: no signal, and no trace for another
	e.publish(e.other(), n, at(2, 1))
	r.await(n, at(2, 1))
	r.wantTrace(n, at(2, 1), "")
	e.publishTraced(e.other(), n, feed.Cursor{}, traceOf(100)) // no news
	e.settle(r.ear, plain)
	e.wantHead(e.first(), n, bus.At(at(2, 1)))
}

// intervalKeepsTheTraceOfTheHead: what is signalled later carries the trace of the head that it tells, or none.
func intervalKeepsTheTraceOfTheHead(e *env) {
	d := interval(e.bubble)
	r := e.listenTraced(e.first())
	ns := names(paced, 2)
	e.follow(r.ear, ns...)
	given := map[feed.Cursor]string{}
	seq := int64(0)
	for round := range 8 {
		for _, traced := range []bool{true, false, round%2 == 0} {
			seq++
			trace := ""
			if traced {
				trace = traceOf(int(seq))
			}
			given[at(1, seq)] = trace
			for i, n := range ns {
				e.publishTraced(e.Nodes[i%len(e.Nodes)], n, at(1, seq), trace)
			}
		}
		for _, n := range ns {
			r.await(n, at(1, seq))
			r.wantTrace(n, at(1, seq), given[at(1, seq)])
		}
		e.pass(d / 3)
	}
	for _, n := range ns {
		for _, v := range r.ear.of(n) {
			r.wantTrace(n, v.head.Cursor, given[v.head.Cursor])
		}
	}
}
