package bustest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var answerChecks = []check{
	{"AnswersReachHeads", 1, answersReachHeads},
	{"AnswersReachFollow", 1, answersReachFollow},
	{"AnswersComeFromOtherNodes", 2, answersComeFromOtherNodes},
	{"AskedOnceAtATime", 1, askedOnceAtATime},
	{"LateAnswersAreSignalled", 1, lateAnswersAreSignalled},
	{"WaitingForAnswersIsBounded", 1, waitingForAnswersIsBounded},
	{"UnansweredIsAskedAgain", 1, unansweredIsAskedAgain},
	{"StoppedAnswererIsNotAsked", 1, stoppedAnswererIsNotAsked},
	{"StopAndCloseEndAnswerersContext", 1, stopAndCloseEndAnswerersContext},
	{"FailedFollowFollowsNothing", 1, failedFollowFollowsNothing},
}

// oracle is an Answerer: it knows every feed of even number and that there are no others.
type oracle struct {
	// static after construction
	e    *env
	node bus.Bus
	gate chan struct{} // each call waits for something on it; nil: none does

	mu    sync.Mutex
	calls [][]feed.Name
	asked chan struct{} // gets something for each call that begins
}

func (e *env) oracle(node bus.Bus, gate chan struct{}) *oracle {
	return &oracle{e: e, node: node, gate: gate, asked: make(chan struct{}, 100_000)}
}

func (o *oracle) answer(ctx context.Context, ns []feed.Name) {
	o.mu.Lock()
	o.calls = append(o.calls, slices.Clone(ns))
	o.mu.Unlock()
	o.asked <- struct{}{}
	if o.gate != nil {
		select {
		case <-o.gate:
		case <-ctx.Done():
			return
		}
	}
	for _, n := range ns {
		if err := o.node.Publish(ctx, n, truth(n).Cursor); err != nil && ctx.Err() == nil {
			o.e.Errorf("Publish of an answer: %v", err)
		}
	}
}

func truth(n feed.Name) bus.Head {
	if last := n[len(n)-1]; last%2 == 1 {
		return bus.At(feed.Cursor{})
	}
	return bus.At(at(3, int64(len(n))))
}

func truths(ns []feed.Name) []bus.Head {
	all := make([]bus.Head, len(ns))
	for i, n := range ns {
		all[i] = truth(n)
	}
	return all
}

// counts is how often each feed has been asked for.
func (o *oracle) counts() map[feed.Name]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := make(map[feed.Name]int)
	for _, call := range o.calls {
		for _, n := range call {
			counts[n]++
		}
	}
	return counts
}

// count is how often it has been asked, and for how many feeds at most.
func (o *oracle) count() (calls, largest int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, call := range o.calls {
		largest = max(largest, len(call))
	}
	return len(o.calls), largest
}

// answersReachHeads asks for many at once, some of them known.
func answersReachHeads(e *env) {
	o := e.oracle(e.first(), nil)
	defer e.first().Answer(o.answer)()
	ns := names("ask", 2500)
	e.publish(e.first(), ns[7], at(9, 9))
	want := truths(ns)
	want[7] = bus.At(at(9, 9))
	begin := time.Now()
	if got := e.heads(e.first(), e.patience, ns...); !slices.Equal(got, want) {
		e.Errorf("Heads of %d unknown feeds differ from the answers", len(ns))
	}
	if took := time.Since(begin); took > e.patience/2 || e.bubble && took != 0 {
		e.Errorf("Heads went on for %s after the answers had come", took)
	}
	counts := o.counts()
	for i, n := range ns {
		if asked := counts[n]; asked != 1 && i != 7 || asked > 1 {
			e.Errorf("%s was asked for %d times", n, asked)
		}
	}
	if counts[ns[7]] != 0 {
		e.Errorf("asked for a known head")
	}
	calls, largest := o.count()
	if largest > 1000 {
		e.Errorf("asked for %d at a time", largest)
	}
	if calls > 50 {
		e.Errorf("asked %d times for %d feeds", calls, len(ns))
	}
	e.heads(e.first(), e.patience, ns...)
	if again, _ := o.count(); again != calls {
		e.Errorf("asked again for what is known")
	}
}

func answersReachFollow(e *env) {
	o := e.oracle(e.first(), nil)
	defer e.first().Answer(o.answer)()
	ns := names("ask", 50)
	r := e.listen(e.first())
	begin := time.Now()
	if got := e.follow(r, ns...); !slices.Equal(got, truths(ns)) {
		e.Errorf("Follow of unknown feeds differs from the answers: %v", got)
	}
	if took := time.Since(begin); e.bubble && took != 0 {
		e.Errorf("Follow went on for %s after the answers had come", took)
	}
	for _, n := range ns {
		e.publish(e.first(), n, at(4, 1))
		r.await(n, at(4, 1))
	}
}

func answersComeFromOtherNodes(e *env) {
	o := e.oracle(e.other(), nil)
	defer e.other().Answer(o.answer)()
	ns := names("ask", 50)
	// An Answerer elsewhere may take a moment to be known here.
	late := time.Now().Add(e.patience)
	for got := []bus.Head(nil); !slices.Equal(got, truths(ns)); {
		if time.Now().After(late) {
			e.Fatalf("the answers never came: %v", got)
		}
		got = e.heads(e.first(), time.Second, ns...)
	}
}

// askedOnceAtATime: while an answer is awaited, nobody else's question is put again, and what comes meanwhile is put
// together.
func askedOnceAtATime(e *env) {
	gate := make(chan struct{})
	o := e.oracle(e.first(), gate)
	stop := e.first().Answer(o.answer)
	defer stop()
	ns := names("ask", 200)
	e.heads(e.first(), 0, ns[0])
	e.receive(o.asked, "the first question")
	for i := range ns {
		e.heads(e.first(), 0, ns[i], ns[0])
		e.heads(e.first(), 0, ns[:i]...)
	}
	r := e.listen(e.first())
	e.follow(r, ns...)
	close(gate)
	e.heads(e.first(), e.patience, append(ns, "ask:last")...) // they are all answered, and so is one asked after them
	for n, asked := range o.counts() {
		if asked != 1 {
			e.Errorf("%s was asked for %d times", n, asked)
		}
	}
	if calls, _ := o.count(); calls > 10 {
		e.Errorf("asked %d times for %d feeds that were wanted while the first was awaited", calls, len(ns)-1)
	}
}

func lateAnswersAreSignalled(e *env) {
	gate := make(chan struct{})
	o := e.oracle(e.first(), gate)
	stop := e.first().Answer(o.answer)
	defer stop()
	r := e.listen(e.first())
	ns := names("ask", 10)
	for i, h := range e.follow(r, ns...) {
		if h.Known {
			e.Errorf("the head of %s is %s before anybody said so", ns[i], text(h))
		}
	}
	close(gate)
	for _, n := range ns {
		r.awaitCount(n, 1)
		if got := r.of(n)[0].head; got != truth(n) {
			e.Errorf("%s was signalled %s, want %s", n, text(got), text(truth(n)))
		}
	}
}

func waitingForAnswersIsBounded(e *env) {
	gate := make(chan struct{})
	o := e.oracle(e.first(), gate)
	stop := e.first().Answer(o.answer)
	defer stop()
	e.publish(e.first(), "ask:known", at(1, 1))
	want := []bus.Head{{}, bus.At(at(1, 1))}

	const wait = 150 * time.Millisecond
	begin := time.Now()
	if got := e.heads(e.first(), wait, "ask:1", "ask:known"); !slices.Equal(got, want) {
		e.Errorf("Heads: %v, want %v", got, want)
	}
	if took := time.Since(begin); took < wait || took > wait+e.patience/2 || e.bubble && took != wait {
		e.Errorf("Heads took %s, want %s", took, wait)
	}
	r := e.listen(e.first())
	begin = time.Now()
	if got := e.follow(r, "ask:1", "ask:known"); !slices.Equal(got, want) {
		e.Errorf("Follow: %v, want %v", got, want)
	}
	if took := time.Since(begin); took > e.patience/2 {
		e.Errorf("Follow took %s", took)
	}
	begin = time.Now()
	e.heads(e.first(), 0, "ask:2")
	if took := time.Since(begin); e.bubble && took != 0 {
		e.Errorf("Heads without waiting took %s", took)
	}

	ctx, cancel := context.WithTimeout(e.Context(), wait)
	defer cancel()
	if _, err := e.first().Heads(ctx, []feed.Name{"ask:3"}, e.patience); err == nil {
		e.Errorf("Heads went on after its context had ended")
	}
}

func unansweredIsAskedAgain(e *env) {
	var mu sync.Mutex
	failures := 2
	o := e.oracle(e.first(), nil)
	defer e.first().Answer(func(ctx context.Context, ns []feed.Name) {
		mu.Lock()
		failures--
		fail := failures >= 0
		mu.Unlock()
		if !fail {
			o.answer(ctx, ns)
		}
	})()
	late := time.Now().Add(e.patience)
	for !e.heads(e.first(), 50*time.Millisecond, "ask:2")[0].Known {
		if time.Now().After(late) {
			e.Fatal("it was never asked again")
		}
	}
}

func stoppedAnswererIsNotAsked(e *env) {
	o := e.oracle(e.first(), nil)
	stop := e.first().Answer(o.answer)
	e.heads(e.first(), e.patience, "ask:1")
	stop()
	calls, _ := o.count()
	for i := range 20 {
		if h := e.heads(e.first(), 5*time.Millisecond, name("unasked", i))[0]; h.Known {
			e.Errorf("the head is %s, with nobody to say so", text(h))
		}
	}
	stop()
	if now, _ := o.count(); now != calls {
		e.Errorf("asked %d times after stop", now-calls)
	}
	again := e.oracle(e.first(), nil)
	defer e.first().Answer(again.answer)()
	if h := e.heads(e.first(), e.patience, "unasked:0")[0]; h != truth("unasked:0") {
		e.Errorf("the head is %s, want the next one's answer", text(h))
	}
}

// stopAndCloseEndAnswerersContext: neither hangs for an Answerer that waits for something else.
func stopAndCloseEndAnswerersContext(e *env) {
	o := e.oracle(e.first(), make(chan struct{}))
	stop := e.first().Answer(o.answer)
	e.heads(e.first(), 0, "ask:1")
	e.receive(o.asked, "the question")
	stop()
	o = e.oracle(e.first(), make(chan struct{}))
	stop = e.first().Answer(o.answer)
	e.heads(e.first(), 0, "ask:2")
	e.receive(o.asked, "the question")
	if err := e.first().Close(); err != nil {
		e.Errorf("Close: %v", err)
	}
	stop()
}

// failedFollowFollowsNothing: but what was followed before stays.
func failedFollowFollowsNothing(e *env) {
	o := e.oracle(e.first(), make(chan struct{}))
	stop := e.first().Answer(o.answer)
	defer stop()
	r := e.listen(e.first())
	e.publish(e.first(), "ask:before", at(1, 1))
	e.follow(r, "ask:before")
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	if _, err := r.sub.Follow(ctx, "ask:1", "ask:before", "ask:2"); err == nil {
		e.Errorf("Follow went on after its context had ended")
	}
	for _, n := range []feed.Name{"ask:1", "ask:2", "ask:before"} {
		e.publish(e.first(), n, at(1, 2))
	}
	r.await("ask:before", at(1, 2))
	e.settle(r)
	r.want("ask:1")
	r.want("ask:2")
}
