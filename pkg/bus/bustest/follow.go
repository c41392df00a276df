package bustest

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var followChecks = []check{
	{"FollowMissesNoLaterPublish", 2, followMissesNoLaterPublish},
	{"FollowedFeedsOnly", 2, followedFeedsOnly},
	{"SubscriptionsAreCounted", 2, subscriptionsAreCounted},
	{"FollowTwiceUnfollowOnce", 2, followTwiceUnfollowOnce},
	{"UnfollowThenFollow", 2, unfollowThenFollow},
	{"UnfollowWhatIsNotFollowed", 1, unfollowWhatIsNotFollowed},
	{"SubscriptionsComeAndGoUnderRace", 2, subscriptionsComeAndGoUnderRace},
}

// followMissesNoLaterPublish begins to follow feeds while they are published: what came before is in the heads, what
// comes after is signalled, and nothing falls between.
func followMissesNoLaterPublish(e *env) {
	const rounds, side = 2000, 4
	var pairs group
	for p := range side {
		r := e.listen(e.first())
		pairs.do(func() {
			for round := range rounds / side {
				ns := names("race:"+string(name("p", p))+":"+string(name("r", round)), 1+rand.IntN(8))
				first := int64(1) // of the seqs published during the race; the heads are unknown before it
				if round%16 != 0 {
					first = 2
					for _, n := range ns {
						e.publishAsync(e.other(), n, at(1, 1))
					}
				}
				last := first + int64(rand.IntN(2))
				var published atomic.Int64
				published.Store(first - 1)
				start := make(chan struct{})
				var writer group
				writer.do(func() {
					<-start
					loiter()
					for seq := first; seq <= last; seq++ {
						for _, n := range ns {
							e.publishAsync(e.other(), n, at(1, seq))
						}
						published.Store(seq)
					}
				})
				close(start)
				loiter()
				before := published.Load()
				heads, err := r.sub.Follow(e.Context(), ns...)
				if err != nil {
					e.Errorf("Follow: %v", err)
				}
				for i, h := range heads {
					if before > 0 && !h.Covers(at(1, before)) {
						e.Errorf("%s was at %d before Follow, which gave the head %s", ns[i], before, text(h))
					}
				}
				writer.wait()
				for i, h := range heads {
					if !h.Covers(at(1, last)) {
						r.awaitAsync(ns[i], at(1, last))
					}
				}
				r.sub.Unfollow(ns...)
				if e.Failed() {
					return
				}
			}
		})
	}
	pairs.wait()
}

// loiter takes a short and random time.
func loiter() {
	for range rand.IntN(20) {
		runtime.Gosched()
	}
}

func followedFeedsOnly(e *env) {
	const followed, not = feed.Name("only:followed"), feed.Name("only:not")
	r := e.listen(e.first())
	e.follow(r, followed)
	e.publish(e.other(), not, at(1, 1))
	e.publish(e.other(), followed, at(1, 1))
	r.await(followed, at(1, 1))
	e.settle(r)
	r.want(followed, at(1, 1))
	r.want(not)
}

// subscriptionsAreCounted: what one subscription stops following, another goes on hearing.
func subscriptionsAreCounted(e *env) {
	const n, m = feed.Name("counted:1"), feed.Name("counted:2")
	a, b, c := e.listen(e.first()), e.listen(e.first()), e.listen(e.other())
	for _, r := range []*ear{a, b, c} {
		e.follow(r, n, m)
	}
	tell := func(c feed.Cursor, ears ...*ear) {
		e.Helper()
		for _, f := range []feed.Name{n, m} {
			e.publish(e.other(), f, c)
			for _, r := range ears {
				r.await(f, c)
			}
		}
	}
	tell(at(1, 1), a, b, c)
	e.settle(a)
	a.sub.Unfollow(n)
	heard := len(a.of(n))
	e.publish(e.other(), n, at(1, 2))
	b.await(n, at(1, 2))
	c.await(n, at(1, 2))
	e.settle(a)
	if now := len(a.of(n)); now != heard {
		e.Errorf("%d signals of an unfollowed feed", now-heard)
	}
	tell(at(1, 3), b, c)
	a.await(m, at(1, 3)) // the other feed goes on
	b.close()
	tell(at(1, 4), c)
	a.await(m, at(1, 4))
	e.follow(a, n)
	tell(at(1, 5), a, c)
	c.close()
	tell(at(1, 6), a)
}

func followTwiceUnfollowOnce(e *env) {
	const n = feed.Name("twice:1")
	r := e.listen(e.first())
	e.follow(r, n)
	e.publish(e.other(), n, at(1, 1))
	r.await(n, at(1, 1))
	if h := e.follow(r, n, n)[0]; h != bus.At(at(1, 1)) {
		e.Errorf("Follow of a followed feed gave the head %s", text(h))
	}
	e.publish(e.other(), n, at(1, 2))
	r.await(n, at(1, 2))
	e.settle(r)
	r.want(n, at(1, 1), at(1, 2)) // each once
	r.sub.Unfollow(n)
	e.publish(e.other(), n, at(1, 3))
	e.settle(r)
	r.want(n, at(1, 1), at(1, 2))
}

func unfollowThenFollow(e *env) {
	const n = feed.Name("again:1")
	r := e.listen(e.first())
	for i := int64(1); i <= 50; i++ {
		if h := e.follow(r, n)[0]; i > 1 && h != bus.At(at(i-1, 2)) {
			e.Fatalf("round %d: Follow gave the head %s", i, text(h))
		}
		e.publish(e.other(), n, at(i, 1))
		r.await(n, at(i, 1))
		r.sub.Unfollow(n)
		e.publish(e.other(), n, at(i, 2))
	}
	e.settle(r)
	for _, v := range r.of(n) {
		if v.head.Cursor.Seq == 2 {
			e.Errorf("signalled %s, published while the feed was not followed", v)
		}
	}
}

func unfollowWhatIsNotFollowed(e *env) {
	const n = feed.Name("stray:1")
	a, b := e.listen(e.first()), e.listen(e.first())
	a.sub.Unfollow(n)
	e.follow(b, n)
	a.sub.Unfollow(n, n) // which must not count as b's
	a.sub.Unfollow()
	e.publish(e.first(), n, at(1, 1))
	b.await(n, at(1, 1))
}

// subscriptionsComeAndGoUnderRace follows, unfollows, subscribes and closes at random while feeds are published; whatever
// is followed at the end must be heard.
func subscriptionsComeAndGoUnderRace(e *env) {
	const followers, steps = 6, 150
	ns := names("churn", 12)
	stop := make(chan struct{})
	var seqs [12]int64
	for _, n := range ns { // nobody has to wait for unknown heads
		e.publish(e.other(), n, at(1, 0))
	}
	var writer group
	writer.do(func() {
		for i := 0; ; i++ {
			j := i % len(ns)
			seqs[j]++
			e.publishAsync(e.Nodes[i%len(e.Nodes)], ns[j], at(1, seqs[j]))
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	ears := make([]*ear, followers)
	var churn group
	for i := range ears {
		node := e.Nodes[i%len(e.Nodes)]
		ears[i] = e.listen(node)
		churn.do(func() {
			r := ears[i]
			for range steps {
				k := rand.IntN(len(ns))
				some := ns[k:min(len(ns), k+1+rand.IntN(4))]
				switch rand.IntN(8) {
				case 0, 1, 2, 3:
					if _, err := r.sub.Follow(e.Context(), some...); err != nil {
						e.Errorf("Follow: %v", err)
					}
				case 4, 5, 6:
					r.sub.Unfollow(some...)
				default:
					r.close()
					r = e.listenAsync(node)
					if ears[i] = r; r == nil {
						return
					}
				}
			}
		})
	}
	churn.wait()
	if e.Failed() {
		close(stop)
		writer.wait()
		return
	}
	for _, r := range ears {
		e.follow(r, ns...)
	}
	close(stop)
	writer.wait()
	for i, n := range ns {
		e.publish(e.other(), n, at(2, seqs[i]))
	}
	for _, r := range ears {
		for i, n := range ns {
			r.await(n, at(2, seqs[i]))
		}
	}
}
