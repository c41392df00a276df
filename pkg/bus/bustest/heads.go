package bustest

import (
	"math/rand/v2"
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var headChecks = []check{
	{"HeadsMoveForwardOnly", 2, headsMoveForwardOnly},
	{"HeadsMoveForwardUnderRace", 2, headsMoveForwardUnderRace},
	{"EqualPublishSignalsAgain", 2, equalPublishSignalsAgain},
	{"OlderPublishIsSilent", 2, olderPublishIsSilent},
	{"NoSuchFeedIsBeatenByAnyCursor", 2, noSuchFeedIsBeatenByAnyCursor},
	{"UnknownIsNotNoSuchFeed", 1, unknownIsNotNoSuchFeed},
	{"HeadsKeepTheOrderOfNames", 2, headsKeepTheOrderOfNames},
}

func headsMoveForwardOnly(e *env) {
	const n = feed.Name("forward:1")
	for i, step := range []struct{ publish, head feed.Cursor }{
		{at(5, 7), at(5, 7)},
		{at(5, 6), at(5, 7)},
		{at(5, 8), at(5, 8)},
		{at(5, 10), at(5, 10)}, // as numbers, not as text
		{at(5, 9), at(5, 10)},
		{at(6, 0), at(6, 0)}, // epochs before seqs
		{at(5, 1<<40), at(6, 0)},
		{at(4, 1), at(6, 0)},
		{at(6, 1), at(6, 1)},
		{at(40, 1), at(40, 1)}, // "0000014-1": base 36 has its own width
		{at(int64(feed.MaxEpoch), 0), at(int64(feed.MaxEpoch), 0)},
		{at(40, 2), at(int64(feed.MaxEpoch), 0)},
		{at(int64(feed.MaxEpoch), 9_999_999_999), at(int64(feed.MaxEpoch), 9_999_999_999)},
		{at(int64(feed.MaxEpoch), 10_000_000_000), at(int64(feed.MaxEpoch), 10_000_000_000)},
		{at(int64(feed.MaxEpoch), 9_999_999_999), at(int64(feed.MaxEpoch), 10_000_000_000)},
		{at(int64(feed.MaxEpoch), 1<<53), at(int64(feed.MaxEpoch), 1<<53)},
		{at(int64(feed.MaxEpoch), 1<<53+1), at(int64(feed.MaxEpoch), 1<<53+1)}, // beyond what a float64 can count
		{at(int64(feed.MaxEpoch), 1<<53), at(int64(feed.MaxEpoch), 1<<53+1)},
		{at(int64(feed.MaxEpoch), 1<<63-1), at(int64(feed.MaxEpoch), 1<<63-1)},
		{at(int64(feed.MaxEpoch), 1<<63-2), at(int64(feed.MaxEpoch), 1<<63-1)},
	} {
		e.publish(e.Nodes[i%len(e.Nodes)], n, step.publish)
		for _, node := range e.Nodes {
			e.wantHead(node, n, bus.At(step.head))
		}
	}
}

// headsMoveForwardUnderRace publishes a feed's cursors in any order from several goroutines while others read.
func headsMoveForwardUnderRace(e *env) {
	const publishers, each = 4, 500
	ns := names("forward", 4)
	stop := make(chan struct{})
	var readers group
	for i := range 2 {
		readers.do(func() {
			last := make([]bus.Head, len(ns))
			for {
				heads, err := e.Nodes[i%len(e.Nodes)].Heads(e.Context(), ns, 0)
				if err != nil {
					e.Errorf("Heads: %v", err)
					return
				}
				for j, h := range heads {
					if last[j].Newer(h) {
						e.Errorf("the head of %s went back from %s to %s", ns[j], text(last[j]), text(h))
					}
				}
				last = heads
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var writers group
	for p := range publishers {
		order := rand.Perm(each)
		writers.do(func() {
			for _, i := range order {
				for _, n := range ns {
					e.publishAsync(e.Nodes[p%len(e.Nodes)], n, at(int64(1+i%3), int64(i)))
				}
			}
		})
	}
	writers.wait()
	close(stop)
	readers.wait()
	newest := at(3, each-each%3-1)
	for _, n := range ns {
		e.wantHead(e.first(), n, bus.At(newest))
	}
}

func equalPublishSignalsAgain(e *env) {
	const n = feed.Name("equal:1")
	r := e.listen(e.first())
	e.follow(r, n)
	for i := 1; i <= 3; i++ {
		e.publish(e.other(), n, at(1, 5))
		r.awaitCount(n, i)
	}
	e.settle(r)
	r.want(n, at(1, 5), at(1, 5), at(1, 5))
	e.wantHead(e.first(), n, bus.At(at(1, 5)))
}

func olderPublishIsSilent(e *env) {
	const n = feed.Name("older:1")
	r := e.listen(e.first())
	e.follow(r, n)
	e.publish(e.other(), n, at(2, 5))
	r.await(n, at(2, 5))
	for _, older := range []feed.Cursor{at(2, 4), at(1, 9), {}} {
		e.publish(e.first(), n, older)
		e.publish(e.other(), n, older)
		e.wantHead(e.first(), n, bus.At(at(2, 5)))
		e.settle(r)
	}
	e.publish(e.other(), n, at(2, 6))
	r.await(n, at(2, 6))
	e.settle(r)
	r.want(n, at(2, 5), at(2, 6))
}

func noSuchFeedIsBeatenByAnyCursor(e *env) {
	const n = feed.Name("absent:1")
	r := e.listen(e.first())
	e.follow(r, n)
	e.publish(e.other(), n, feed.Cursor{})
	r.awaitCount(n, 1)
	for _, node := range e.Nodes {
		e.wantHead(node, n, bus.At(feed.Cursor{}))
	}
	e.publish(e.other(), n, feed.Cursor{})
	r.awaitCount(n, 2) // equal
	e.publish(e.other(), n, at(1, 0))
	r.await(n, at(1, 0))
	e.publish(e.other(), n, feed.Cursor{})
	e.settle(r)
	r.want(n, feed.Cursor{}, feed.Cursor{}, at(1, 0))
	e.wantHead(e.first(), n, bus.At(at(1, 0)))
}

func unknownIsNotNoSuchFeed(e *env) {
	r := e.listen(e.first())
	e.publish(e.first(), "told:none", feed.Cursor{})
	want := []bus.Head{{}, bus.At(feed.Cursor{})}
	if got := e.heads(e.first(), 0, "told:nothing", "told:none"); !slices.Equal(got, want) {
		e.Errorf("Heads: %v, want %v", got, want)
	}
	if got := e.follow(r, "told:nothing", "told:none"); !slices.Equal(got, want) {
		e.Errorf("Follow: %v, want %v", got, want)
	}
	e.settle(r)
	if all := r.all(); len(all) > 0 {
		e.Errorf("signalled %v, though nothing has happened", all)
	}
}

func headsKeepTheOrderOfNames(e *env) {
	const many = 10_000
	ns := names("order", many)
	want := make([]bus.Head, many)
	for i := range ns {
		switch i % 3 {
		case 1:
			want[i] = bus.At(feed.Cursor{})
			e.publish(e.other(), ns[i], feed.Cursor{})
		case 2:
			want[i] = bus.At(at(1, int64(i)))
			e.publish(e.other(), ns[i], at(1, int64(i)))
		}
	}
	rand.Shuffle(many, func(i, j int) {
		ns[i], ns[j] = ns[j], ns[i]
		want[i], want[j] = want[j], want[i]
	})
	ns = append(ns, ns[0], ns[1], ns[0])           // repeated names
	want = append(want, want[0], want[1], want[0]) //nolint:makezero // it is full
	if got := e.heads(e.first(), 0, ns...); !slices.Equal(got, want) {
		e.Errorf("Heads of %d feeds differ from what was published", len(ns))
	}
	if got := e.heads(e.first(), 0); len(got) != 0 {
		e.Errorf("Heads of no feeds: %v", got)
	}
	r := e.listen(e.first())
	if got := e.follow(r, ns...); !slices.Equal(got, want) {
		e.Errorf("Follow of %d feeds gave heads that differ from what was published", len(ns))
	}
	if got := e.follow(r); len(got) != 0 {
		e.Errorf("Follow of no feeds: %v", got)
	}
}
