package bustest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var closeChecks = []check{
	{"ClosedSubscriptionIsSilent", 2, closedSubscriptionIsSilent},
	{"CloseWaitsForTheCall", 1, closeWaitsForTheCall},
	{"ClosedSubscriptionRefuses", 1, closedSubscriptionRefuses},
	{"ClosedBusRefuses", 1, closedBusRefuses},
	{"CloseEndsWaiting", 1, closeEndsWaiting},
	{"EverythingAtOnce", 2, everythingAtOnce},
}

// closedSubscriptionIsSilent closes subscriptions while their feeds are published; an ear minds calls after that.
func closedSubscriptionIsSilent(e *env) {
	const rounds = 300
	ns := names("close", 4)
	for _, n := range ns { // nobody has to wait for unknown heads
		e.publish(e.other(), n, at(1, 0))
	}
	stop := make(chan struct{})
	var writer group
	writer.do(func() {
		for i := int64(1); ; i++ {
			for _, n := range ns {
				e.publishAsync(e.other(), n, at(1, i))
			}
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	keep := e.listen(e.first())
	e.follow(keep, ns...)
	for range rounds {
		r := e.listen(e.first())
		e.follow(r, ns...)
		loiter()
		r.close()
		r.sub.Close()
		r.sub.Unfollow(ns...)
	}
	close(stop)
	writer.wait()
	for _, n := range ns {
		e.publish(e.other(), n, at(2, 1))
		keep.await(n, at(2, 1))
	}
}

// closeWaitsForTheCall: of the subscription and of the bus.
func closeWaitsForTheCall(e *env) {
	entered, gate := make(chan struct{}, 2), make(chan struct{})
	busy := func(feed.Name) {
		entered <- struct{}{}
		<-gate
	}
	a, b := e.listenWith(e.first(), busy), e.listenWith(e.first(), busy)
	e.follow(a, "close:1")
	e.follow(b, "close:1")
	e.publish(e.first(), "close:1", at(1, 1))
	e.receive(entered, "a signal")
	e.receive(entered, "a signal")
	e.publish(e.first(), "close:1", at(1, 2))
	var closing group
	closing.do(a.close) // an ear minds when its call has not ended by then
	loiter()
	closing.do(func() {
		if err := e.first().Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
		b.mute()
	})
	loiter()
	close(gate)
	closing.wait()
}

func closedSubscriptionRefuses(e *env) {
	r := e.listen(e.first())
	e.follow(r, "close:1")
	r.close()
	r.close()
	if _, err := r.sub.Follow(e.Context(), "close:1"); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Follow after Close: %v, want ErrClosed", err)
	}
	r.sub.Unfollow("close:1")
	e.publish(e.first(), "close:1", at(1, 1))
	e.wantHead(e.first(), "close:1", bus.At(at(1, 1)))
}

func closedBusRefuses(e *env) {
	r := e.listen(e.first())
	ns := append(names("close", 10), names(paced, 10)...)
	e.follow(r, ns...)
	for _, n := range ns {
		e.publish(e.first(), n, at(1, 1)) // some signals are on their way
	}
	for range 2 {
		if err := e.first().Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
		r.mute()
	}
	if e.first().Alive() {
		e.Errorf("alive after Close")
	}
	if err := e.first().Publish(e.Context(), ns[0], at(1, 2)); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Publish after Close: %v, want ErrClosed", err)
	}
	if _, err := e.first().Heads(e.Context(), ns, 0); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Heads after Close: %v, want ErrClosed", err)
	}
	if _, err := e.first().Subscribe(r); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Subscribe after Close: %v, want ErrClosed", err)
	}
	if _, err := r.sub.Follow(e.Context(), ns...); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Follow after Close: %v, want ErrClosed", err)
	}
	e.first().Answer(func(context.Context, []feed.Name) { e.Errorf("asked after Close") })()
	r.sub.Unfollow(ns...)
	r.sub.Close()
}

// closeEndsWaiting: Heads and Follow that wait for answers don't go on after Close.
func closeEndsWaiting(e *env) {
	o := e.oracle(e.first(), make(chan struct{}))
	stop := e.first().Answer(o.answer)
	defer stop()
	a, b := e.listen(e.first()), e.listen(e.first())
	var waiting, following group
	begin := time.Now()
	waiting.do(func() {
		if _, err := e.first().Heads(e.Context(), names("ask", 2), e.patience); !errors.Is(err, bus.ErrClosed) {
			e.Errorf("Heads: %v, want ErrClosed", err)
		}
	})
	follow := func(r *ear) {
		// In real time it may be over before the end is closed, as it waits for a short time only.
		if _, err := r.sub.Follow(e.Context(), "ask:1"); !errors.Is(err, bus.ErrClosed) && (err != nil || e.bubble) {
			e.Errorf("Follow: %v, want ErrClosed", err)
		}
	}
	following.do(func() { follow(a) })
	waiting.do(func() { follow(b) })
	e.receive(o.asked, "the question")
	if e.bubble {
		synctest.Wait() // all of them wait
	}
	a.close()
	following.wait()
	if err := e.first().Close(); err != nil {
		e.Errorf("Close: %v", err)
	}
	b.mute()
	waiting.wait()
	if took := time.Since(begin); took > e.patience/2 || e.bubble && took != 0 {
		e.Errorf("waited for %s", took)
	}
}

// everythingAtOnce does all of it from many goroutines; the race detector minds. At the end, heads are the newest and
// everybody hears of them.
func everythingAtOnce(e *env) {
	const workers, steps = 8, 200
	ns := append(names("all", 10), names(paced, 2)...)
	o := e.oracle(e.other(), nil)
	stop := e.other().Answer(o.answer)
	keep := []*ear{e.listen(e.first()), e.listen(e.other())}
	var all group
	for w := range workers {
		node := e.Nodes[w%len(e.Nodes)]
		all.do(func() {
			for i := range steps {
				k := rand.IntN(len(ns))
				some := ns[k:min(len(ns), k+1+rand.IntN(4))]
				switch rand.IntN(10) {
				case 0, 1, 2, 3:
					e.publishAsync(node, ns[k], at(5, int64(i)))
				case 4:
					if _, err := node.Heads(e.Context(), some, 0); err != nil {
						e.Errorf("Heads: %v", err)
					}
				case 5, 6:
					// Each feed belongs to one worker here: Follow and Unfollow of one feed must not race.
					r, own := keep[w%2], name("own", w)
					if _, err := r.sub.Follow(e.Context(), own); err != nil {
						e.Errorf("Follow: %v", err)
					}
					r.sub.Unfollow(own)
				case 7:
					if _, err := keep[w%2].sub.Follow(e.Context(), some...); err != nil {
						e.Errorf("Follow: %v", err)
					}
				case 8:
					node.Alive()
				default:
					if r := e.listenAsync(node); r != nil {
						if _, err := r.sub.Follow(e.Context(), some...); err != nil {
							e.Errorf("Follow: %v", err)
						}
						r.close()
					}
				}
			}
		})
	}
	all.wait()
	for i, r := range keep {
		e.follow(r, ns...)
		for _, n := range ns {
			e.publish(e.Nodes[i%len(e.Nodes)], n, at(6, int64(i)))
		}
	}
	for _, r := range keep {
		for _, n := range ns {
			r.await(n, at(6, 1))
		}
	}
	stop()
	for _, n := range ns {
		e.wantHead(e.first(), n, bus.At(at(6, 1)))
	}
}
