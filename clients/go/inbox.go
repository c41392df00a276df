package doorbell

import (
	"sync"
	"time"
)

// inbox is what the signals say, as a level: the newest head, the last few before it, and whether signals can be relied on. The
// socket writes it, the follower's loop reads it.
type inbox struct {
	wake chan struct{} // holds one token after a change

	mu  sync.Mutex
	now signals // guarded by mu
}

// signals is one state of an inbox.
type signals struct {
	head    cursor    // the newest signalled; zero: none, or no such feed
	trace   trace     // the last that a signal had
	ahead   backlog   // those on the way from have to head that are known
	gap     cursor    // up to here others may have been told of heads that are not known
	pullAt  time.Time // when to pull for head, spread included; zero: at once
	fresh   bool      // a subscription has just begun
	began   cursor    // the head it told, which counts also if it is older: the feed may have lost something
	have    cursor    // where the follower is: what a subscription begins with
	fatal   error     // no signals any more, for good
	link    link
	problem error // why link is down; nil otherwise
	faults  int   // counts the problems

	degraded bool // the gateway has lost the bus
	unknown  bool // the gateway doesn't know the feed's head
}

type link uint8

const (
	linkNew  link = iota // the first connection is being made
	linkUp               // subscribed
	linkDown             // not subscribed; the socket goes on trying
)

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// mode tells whether signals can be relied on.
func (s *signals) mode() Mode {
	switch {
	case s.link == linkDown, s.degraded, s.unknown:
		return Polling
	case s.link == linkUp:
		return Live
	}
	return Connecting
}

func (b *inbox) update(f func(*signals)) {
	b.mu.Lock()
	f(&b.now)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default: // not read yet: the reader will see this state too
	}
}

func (b *inbox) view() signals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// take is view, and marks what it gives as seen: a pull for it begins.
func (b *inbox) take() signals {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.now
	b.now.fresh = false
	b.now.pullAt = time.Time{}
	return taken
}

func (b *inbox) setHave(c cursor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.have = c
	b.now.ahead = b.now.ahead.beyond(c)
	if b.now.head.compare(c) <= 0 {
		b.now.pullAt = time.Time{} // the pull that was due has been overtaken
	}
}

// resumeFrom is the cursor to subscribe with: none in the middle of a walk, whose cursor is no head.
func (b *inbox) resumeFrom() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.have.base > 0 {
		return ""
	}
	return b.now.have.text
}

// subscribed: signals flow from now on, and the feed is at head; nil when the gateway doesn't know.
func (b *inbox) subscribed(head *cursor) {
	b.update(func(s *signals) {
		s.link, s.problem = linkUp, nil
		s.unknown = head == nil
		if head == nil {
			return
		}
		s.fresh, s.began = true, *head
		if head.isZero() || head.compare(s.head) > 0 {
			s.head = *head
			s.ahead, s.gap = backlog{*head}.beyond(s.have), *head
		}
	})
}

// changed: the feed is at head; pull at a random moment within spread. A pull for it is part of the trace, if that is one.
func (b *inbox) changed(head cursor, spread time.Duration, traceparent string) {
	at := time.Now().Add(random(spread))
	b.update(func(s *signals) {
		s.unknown = false
		if head.compare(s.head) <= 0 {
			return
		}
		s.head = head
		s.trace = parseTrace(traceparent, head)
		if head.compare(s.have) <= 0 {
			return
		}
		var forgot bool
		if s.ahead, forgot = s.ahead.with(head); forgot {
			s.gap = head
		}
		if s.pullAt.IsZero() { // otherwise a pull is due already, and will be for this head as well
			s.pullAt = at
		}
	})
}

func (b *inbox) setDegraded(yes bool) { b.update(func(s *signals) { s.degraded = yes }) }

// connected: another gateway, or the same after a break; what the last one said of itself is void.
func (b *inbox) connected() {
	b.update(func(s *signals) { s.degraded, s.unknown = false, false })
}

func (b *inbox) down(err error) {
	b.update(func(s *signals) {
		s.link, s.problem = linkDown, err
		s.faults++
	})
}

func (b *inbox) fail(err error) { b.update(func(s *signals) { s.fatal = err }) }

// refute: the primary says that a follower at have was ahead of the feed, which is at head. What was signalled up to have
// is history that is no more.
func (b *inbox) refute(have, head cursor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if head.compare(have) < 0 && b.now.head.compare(have) <= 0 {
		b.now.head, b.now.ahead = head, nil
	}
}
