package bustest

import (
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var deliveryChecks = []check{
	{"CallsComeOneAtATime", 2, callsComeOneAtATime},
	{"SlowFollowerGetsTheLast", 2, slowFollowerGetsTheLast},
	{"SlowFollowerDelaysNobodyElse", 1, slowFollowerDelaysNobodyElse},
	{"FollowerMayTakeLocksOfItsOwner", 1, followerMayTakeLocksOfItsOwner},
}

func callsComeOneAtATime(e *env) {
	const publishers, each = 4, 300
	ns := names("single", 8)
	r := e.listenWith(e.first(), func(feed.Name) { loiter() }) // an ear minds calls that overlap
	e.follow(r, ns...)
	var writers group
	for p := range publishers {
		writers.do(func() {
			for i := int64(1); i <= each; i++ {
				e.publishAsync(e.Nodes[p%len(e.Nodes)], ns[(p+int(i))%len(ns)], at(1, i))
			}
		})
	}
	writers.wait()
	for _, n := range ns {
		e.publish(e.other(), n, at(2, 1))
		r.await(n, at(2, 1))
	}
}

// slowFollowerGetsTheLast publishes 10,000 times while a Follower stands still: nobody waits for it, it's called about
// once per feed when it goes on, and hears of the newest heads.
func slowFollowerGetsTheLast(e *env) {
	const publishes = 10_000
	ns := names("slow", 10)
	entered, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := e.listenWith(e.first(), func(feed.Name) {
		once.Do(func() { close(entered) })
		<-gate
	})
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	quick := e.listen(e.first())
	e.follow(slow, ns...)
	e.follow(quick, ns...)
	e.publish(e.other(), ns[0], at(1, 1))
	e.receive(entered, "the first signal")
	var last [10]feed.Cursor
	for i := range publishes {
		last[i%10] = at(1, int64(2+i))
		e.publish(e.other(), ns[i%10], last[i%10])
	}
	for i, n := range ns {
		quick.await(n, last[i])
	}
	release()
	for i, n := range ns {
		slow.await(n, last[i])
	}
	if calls := len(slow.all()); calls > 1000 {
		e.Errorf("%d calls for %d publishes of %d feeds", calls, publishes, len(ns))
	}
}

func slowFollowerDelaysNobodyElse(e *env) {
	const n = feed.Name("delay:1")
	gate := make(chan struct{})
	slow := e.listenWith(e.first(), func(feed.Name) { <-gate })
	quick := e.listen(e.first())
	defer close(gate)
	e.follow(slow, n)
	e.follow(quick, n)
	for i := int64(1); i <= 100; i++ {
		e.publish(e.first(), n, at(1, i))
		quick.await(n, at(1, i))
	}
}

// followerMayTakeLocksOfItsOwner calls everything while it holds a lock that the Follower wants.
func followerMayTakeLocksOfItsOwner(e *env) {
	const n, m = feed.Name("lock:1"), feed.Name("lock:2")
	var mu sync.Mutex
	entered := make(chan struct{}, 1000)
	r := e.listenWith(e.first(), func(feed.Name) {
		entered <- struct{}{}
		mu.Lock()
		defer mu.Unlock()
	})
	e.follow(r, n)
	for i := int64(1); i <= 20; i++ {
		mu.Lock()
		e.publish(e.first(), n, at(1, i))
		e.receive(entered, "a signal")
		e.publish(e.first(), m, at(1, i))
		e.follow(r, n, m)
		e.publish(e.first(), n, at(1, i))
		e.publish(e.first(), m, at(2, i))
		e.heads(e.first(), 0, n, m)
		r.sub.Unfollow(m)
		e.first().Alive()
		e.listen(e.first()).close()
		mu.Unlock()
		r.await(n, at(1, i))
		e.settle(r)
		for len(entered) > 0 {
			<-entered
		}
	}
}

// receive waits for something on (or the closing of) a channel.
func (e *env) receive(c <-chan struct{}, what string) {
	e.Helper()
	select {
	case <-c:
	case <-time.After(e.patience):
		e.Fatalf("waited for %s in vain", what)
	}
}
