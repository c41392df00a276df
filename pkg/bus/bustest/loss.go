package bustest

import (
	"context"
	"errors"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var lossChecks = []check{
	{"LossIsToldAndMadeUpFor", 2, lossIsToldAndMadeUpFor},
	{"FollowDuringLossFails", 2, followDuringLossFails},
	{"AliveIsCalledOnChangesOnly", 2, aliveIsCalledOnChangesOnly},
}

// lossIsToldAndMadeUpFor: when the bus is back, the newest heads come before Alive(true), with those that other nodes
// could publish meanwhile.
func lossIsToldAndMadeUpFor(e *env) {
	if e.Interrupt == nil {
		e.Skip("this implementation can't be interrupted")
	}
	ns := names("loss", 20)
	paced := names(paced, 2)
	ears := []*ear{e.listen(e.first()), e.listen(e.first())}
	if !e.first().Alive() {
		e.Fatalf("a new bus is not alive")
	}
	want := make(map[feed.Name]feed.Cursor)
	for i, n := range append(ns, paced...) {
		want[n] = at(1, int64(i))
		e.publish(e.other(), n, want[n])
	}
	for _, r := range ears {
		e.follow(r, append(ns, paced...)...)
	}
	for round := int64(2); round <= 4; round++ {
		for _, n := range append(ns[:5:5], paced...) { // some have signals on their way
			want[n] = at(round, 1)
			e.publish(e.other(), n, want[n])
		}
		e.Interrupt()
		for _, r := range ears {
			r.awaitAlive(false)
		}
		if e.first().Alive() {
			e.Errorf("alive while interrupted")
		}
		for _, n := range ns[3:8] {
			switch err := e.other().Publish(e.Context(), n, at(round, 2)); {
			case err == nil:
				want[n] = at(round, 2)
			case !errors.Is(err, bus.ErrUnavailable):
				e.Errorf("Publish: %v, want nil or ErrUnavailable", err)
			}
		}
		e.Resume()
		for _, r := range ears {
			r.awaitAlive(true)
			r.wantMadeUp(want)
		}
		if !e.first().Alive() {
			e.Errorf("not alive after Alive(true)")
		}
		for _, n := range ns {
			want[n] = at(round, 3)
			e.publish(e.other(), n, want[n])
			for _, r := range ears {
				r.await(n, want[n])
			}
		}
	}
}

// wantMadeUp looks at what came between the last Alive(false) and the last Alive(true).
func (r *ear) wantMadeUp(want map[feed.Name]feed.Cursor) {
	r.e.Helper()
	newest := make(map[feed.Name]bus.Head)
	back := false
	for _, v := range r.all() {
		switch {
		case v.name == "" && !v.alive:
			clear(newest)
			back = false
		case v.name == "":
			back = true
		case !back && v.head.Newer(newest[v.name]):
			newest[v.name] = v.head
		}
	}
	for n, c := range want {
		if !newest[n].Covers(c) {
			r.e.Errorf("%s, at %s, was signalled %s before Alive(true)", n, c, text(newest[n]))
		}
	}
}

func followDuringLossFails(e *env) {
	if e.Interrupt == nil {
		e.Skip("this implementation can't be interrupted")
	}
	r := e.listen(e.first())
	e.publish(e.first(), "loss:before", at(1, 1))
	e.publish(e.first(), "loss:known", at(1, 1))
	e.follow(r, "loss:before")
	e.Interrupt()
	r.awaitAlive(false)
	ctx, cancel := context.WithTimeout(e.Context(), 2*time.Second)
	defer cancel()
	for _, ns := range [][]feed.Name{{"loss:meanwhile", "loss:before"}, {"loss:known"}} {
		if _, err := r.sub.Follow(ctx, ns...); err == nil {
			e.Errorf("Follow gave heads of a bus that is lost")
		}
	}
	if _, err := e.first().Heads(ctx, []feed.Name{"loss:before"}, 0); err == nil {
		e.Errorf("Heads gave heads of a bus that is lost")
	}
	born := e.listen(e.first()) // in the state that Alive tells
	e.Resume()
	r.awaitAlive(true)
	born.awaitAlive(true)
	e.publish(e.other(), "loss:meanwhile", at(1, 2))
	e.publish(e.other(), "loss:known", at(1, 2))
	e.publish(e.other(), "loss:before", at(1, 2))
	r.await("loss:before", at(1, 2))
	e.settle(r)
	r.want("loss:meanwhile")
	r.want("loss:known")
	e.follow(born, "loss:meanwhile")
	e.publish(e.other(), "loss:meanwhile", at(1, 3))
	born.await("loss:meanwhile", at(1, 3))
}

func aliveIsCalledOnChangesOnly(e *env) {
	if e.Interrupt == nil {
		e.Skip("this implementation can't be interrupted")
	}
	r := e.listen(e.first())
	e.follow(r, "loss:1")
	for range 3 {
		e.Interrupt()
		e.Interrupt()
		r.awaitAlive(false)
		e.Resume()
		r.awaitAlive(true)
		e.Resume()
	}
	e.publish(e.other(), "loss:1", at(1, 1))
	r.await("loss:1", at(1, 1))
	e.settle(r)
	last, changes := true, 0 // a subscription begins alive, as the bus is
	for _, v := range r.all() {
		if v.name == "" {
			if v.alive == last {
				e.Errorf("Alive(%t) twice in a row", last)
			}
			last = v.alive
			changes++
		}
	}
	if changes != 6 {
		e.Errorf("Alive was called %d times, want 6:%s", changes, r)
	}
}
