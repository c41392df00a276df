package delivery

import (
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

// heardAtMost is how many messages wait for one Listener; beyond that they are dropped for a gap.
const heardAtMost = 1024

// Topics is who listens to which topic in this process. Unlike the rest of the package it has a lock of its own, which is a
// leaf: nothing is taken under it. Each Listener has a goroutine.
type Topics struct {
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	topics map[string]map[*listening]struct{}
}

// listening is one Listener. Guarded by Topics.mu, but for what is static.
type listening struct {
	// static
	listener bus.Listener
	done     chan struct{}

	messages [][]byte
	gap      bool
	over     bool
	wake     sync.Cond
}

// NewTopics makes Topics that nobody listens to.
func NewTopics() *Topics { return &Topics{topics: make(map[string]map[*listening]struct{})} }

// Listen has l called for what is handed on from now on. If messages come already, as live tells, it begins with the gap;
// otherwise with the next call of Gap, which has to follow when that has changed.
func (t *Topics) Listen(topic string, l bus.Listener, live func() bool) (stop func()) {
	w := &listening{listener: l, done: make(chan struct{})}
	w.wake.L = &t.mu
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return func() {}
	}
	w.gap = live()
	if t.topics[topic] == nil {
		t.topics[topic] = make(map[*listening]struct{})
	}
	t.topics[topic][w] = struct{}{}
	t.running.Go(func() { t.run(w) })
	return func() {
		t.mu.Lock()
		if delete(t.topics[topic], w); len(t.topics[topic]) == 0 {
			delete(t.topics, topic)
		}
		w.endLocked()
		t.mu.Unlock()
		<-w.done
	}
}

// Hand gives the message, which is not changed any more, to all who listen to the topic. It doesn't wait for them.
func (t *Topics) Hand(topic string, message []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.topics[topic] {
		if len(w.messages) == heardAtMost {
			w.messages, w.gap = nil, true
		}
		w.messages = append(w.messages, message)
		w.wake.Signal()
	}
}

// Gap tells all Listeners that messages may have been missed.
func (t *Topics) Gap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, all := range t.topics {
		for w := range all {
			w.gap = true
			w.wake.Signal()
		}
	}
}

// Close ends all listening. It waits for the calls that are under way.
func (t *Topics) Close() {
	t.mu.Lock()
	t.closed = true
	for _, all := range t.topics {
		for w := range all {
			w.endLocked()
		}
	}
	clear(t.topics)
	t.mu.Unlock()
	t.running.Wait()
}

func (w *listening) endLocked() {
	w.over = true
	w.wake.Signal()
}

func (t *Topics) run(w *listening) {
	defer close(w.done)
	t.mu.Lock()
	defer t.mu.Unlock()
	for !w.over {
		switch {
		case w.gap:
			w.gap = false
			t.mu.Unlock()
			w.listener.Gap()
			t.mu.Lock()
		case len(w.messages) > 0:
			message := w.messages[0]
			w.messages = w.messages[1:]
			t.mu.Unlock()
			w.listener.Hear(message)
			t.mu.Lock()
		default:
			w.wake.Wait()
		}
	}
}
