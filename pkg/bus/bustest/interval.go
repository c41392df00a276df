package bustest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var intervalChecks = []check{
	{"IntervalBoundsSignals", 2, intervalBoundsSignals},
	{"IntervalSignalsOnItsMultiples", 2, intervalSignalsOnItsMultiples},
	{"IntervalSignalsEqualPublish", 2, intervalSignalsEqualPublish},
}

// paced is the namespace whose feeds have a signal interval.
const paced = "paced"

func interval(bubble bool) time.Duration {
	if bubble {
		return time.Second
	}
	return 100 * time.Millisecond
}

func intervals(bubble bool) bus.IntervalFunc {
	return func(n feed.Name) time.Duration {
		if n.Namespace() == paced {
			return interval(bubble)
		}
		return 0
	}
}

// intervalBoundsSignals publishes far more often than the interval lets signals through.
func intervalBoundsSignals(e *env) {
	const periods = 10
	d := interval(e.bubble)
	ns := names(paced, 3)
	r := e.listen(e.first())
	e.follow(r, ns...)
	begin := time.Now()
	seq := int64(0)
	for time.Since(begin) < periods*d {
		seq++
		for _, n := range ns {
			e.publish(e.Nodes[int(seq)%len(e.Nodes)], n, at(1, seq))
			e.wantHead(e.first(), n, bus.At(at(1, seq))) // the head does not wait
		}
		e.pass(rand.N(d / 10))
	}
	for _, n := range ns {
		r.await(n, at(1, seq))
	}
	took := time.Since(begin)
	for _, n := range ns {
		got := r.of(n)
		if most := int(took/d) + 1; len(got) > most {
			e.Errorf("%d signals of %s in %s, with one per %s", len(got), n, took, d)
		}
		if !slices.IsSortedFunc(got, func(a, b event) int { return a.head.Cursor.Compare(b.head.Cursor) }) {
			e.Errorf("%s was signalled %v", n, got)
		}
	}
	if !e.bubble {
		return
	}
	e.pass(5 * d)
	for _, n := range ns {
		got := r.of(n)
		// With several publishes in each period, none goes without a signal.
		if len(got) < periods || len(got) > periods+1 {
			e.Errorf("%d signals of %s in %d periods", len(got), n, periods)
		}
	}
}

// intervalSignalsOnItsMultiples looks at single publishes: the signal comes at the next multiple, with the head as it is
// then, and not again.
func intervalSignalsOnItsMultiples(e *env) {
	const n, free = feed.Name(paced + ":1"), feed.Name("free:1")
	d := interval(e.bubble)
	r := e.listen(e.first())
	e.follow(r, n, free)
	var want []feed.Cursor
	for i := int64(1); i <= 12; i++ {
		if i%4 != 0 { // every fourth publish of the bubble's exact time falls on a multiple
			e.pass(rand.N(d))
		}
		begin := time.Now()
		e.publish(e.other(), n, at(i, 1))
		e.publish(e.other(), free, at(i, 1))
		r.await(free, at(i, 1))
		if took := time.Since(begin); e.bubble && took != 0 {
			e.Errorf("a feed without interval was signalled after %s", took)
		}
		e.publish(e.other(), n, at(i, 2))
		published := time.Now()
		r.await(n, at(i, 1))
		got := r.of(n)
		v, due := got[len(got)-1], begin.Truncate(d).Add(d)
		if early := due.Sub(v.at); early > 2*time.Millisecond {
			e.Errorf("published at %s, signalled %s before %s", begin.Format(clock), early, due.Format(clock))
		}
		if published.Before(due) && v.at.Before(due.Add(d)) && v.head != bus.At(at(i, 2)) {
			e.Errorf("signalled %s at %s, when the head was %s", v, v.at.Format(clock), at(i, 2))
		}
		if e.bubble && !v.at.Equal(due) {
			e.Errorf("published at %s, signalled at %s, want %s", begin.Format(clock), v.at.Format(clock), due.Format(clock))
		}
		r.await(n, at(i, 2))
		want = append(want, at(i, 2))
	}
	if e.bubble {
		e.pass(5 * d)
		r.want(n, want...)
	}
}

const clock = "15:04:05.000"

func intervalSignalsEqualPublish(e *env) {
	const n = feed.Name(paced + ":1")
	r := e.listen(e.first())
	e.follow(r, n)
	for i := 1; i <= 3; i++ {
		e.publish(e.other(), n, at(1, 1))
		r.awaitCount(n, i)
	}
}
