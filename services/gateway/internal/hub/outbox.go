package hub

import (
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Kind tells events apart.
type Kind uint8

const (
	// Nothing is to be said right now.
	Nothing Kind = iota
	// Answer answers a command: Tag, and Heads where the command was a subscribe.
	Answer
	// Changed tells newer heads.
	Changed
	// Liveness tells whether the bus is Alive.
	Liveness
)

// Event is the next thing to tell a client.
type Event struct {
	Kind Kind
	Tag  any // as it was given to Answer or Subscribe
	// Heads is the feeds of a subscribe's answer, in the order in which they were named, or those that have changed.
	Heads []FeedHead
	Alive bool
}

// FeedHead is a feed and how far it has come.
type FeedHead struct {
	Feed feed.Name
	Head bus.Head
}

const (
	// maxHeads and maxHeadBytes bound one Changed, so that a client with many feeds gets several frames.
	maxHeads     = 1000
	maxHeadBytes = 60 << 10
	// headBytes is the most that a feed takes beside its name: "":"0k3f9xa-9223372036854775807",
	headBytes = 34
)

// Answer adds an answer to a command, which weighs as many feeds as it names. An urgent one does not wait for earlier
// commands that wait for the bus.
func (c *Client) Answer(tag any, weight int, urgent bool) {
	c.push(&answer{client: c, tag: tag, urgent: urgent, weight: weight})
}

func (c *Client) push(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	a.weight++
	c.weight += a.weight
	c.answers = append(c.answers, a)
	c.wake()
}

// WaitRoom waits until there is room for another answer, so that a client who sends commands and reads no answers is
// not read from. It tells whether the client is still open.
func (c *Client) WaitRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.weight >= MaxWeight && !c.closed {
		c.room.Wait()
	}
	return !c.closed
}

// settle counts one feed that a waits for.
func (c *Client) settle(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.waiting--; a.waiting == 0 {
		c.wake()
	}
}

// mark makes head the one to tell of f's feed, unless the client has been told it already.
func (c *Client) mark(f *follow, head bus.Head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.markLocked(f, head) {
		c.wake()
	}
}

// markLocked is mark with mu held. It tells whether there is something new to say.
func (c *Client) markLocked(f *follow, head bus.Head) bool {
	if f.gone {
		return false
	}
	if head.Newer(f.head) {
		f.head = head
	}
	if !f.announced || f.dirty || !f.head.Newer(f.told) {
		return false
	}
	f.dirty = true
	c.dirty = append(c.dirty, f)
	return true
}

// setAlive is called with Hub.mu held.
func (c *Client) setAlive(alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive = alive
	if alive {
		// Who subscribed meanwhile was told null, whatever the head. In one go with alive: an answer that is taken in
		// between would be null for good.
		for _, f := range c.feeds {
			if f.entry.listening() {
				c.markLocked(f, f.entry.head)
			}
		}
	}
	c.backlog = len(c.dirty) - c.nextHead
	c.wake()
}

// Next fills in ev with what the client is to be told next, reusing its Heads. What has been taken counts as told.
func (c *Client) Next(ev *Event) {
	*ev = Event{Heads: ev.Heads[:0]}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.takeLivenessLocked(ev) {
		return
	}
	if c.turn { // neither a stream of commands nor one of signals starves the other
		_ = c.takeHeadsLocked(ev) || c.takeAnswerLocked(ev)
	} else {
		_ = c.takeAnswerLocked(ev) || c.takeHeadsLocked(ev)
	}
	if ev.Kind == Nothing { // the backlog may have been of unfollowed feeds only
		c.takeLivenessLocked(ev)
	}
}

func (c *Client) takeLivenessLocked(ev *Event) bool {
	if c.alive == c.told || (c.alive && c.backlog > 0) {
		return false
	}
	c.told = c.alive
	ev.Kind, ev.Alive = Liveness, c.alive
	return true
}

func (c *Client) takeAnswerLocked(ev *Event) bool {
	waiting := false
	for i, a := range c.answers {
		if a.waiting > 0 || (waiting && !a.urgent) {
			waiting = true
			continue
		}
		c.answers = slices.Delete(c.answers, i, i+1)
		c.weight -= a.weight
		c.room.Broadcast()
		c.turn = true
		ev.Kind, ev.Tag = Answer, a.tag
		for _, f := range a.follows {
			f.announced = true
			f.told = bus.Head{}
			if c.alive && !f.gone { // a head from before the bus was lost may have been overtaken unheard
				f.told = f.head
			}
			ev.Heads = append(ev.Heads, FeedHead{Feed: f.entry.name, Head: f.told})
		}
		return true
	}
	return false
}

func (c *Client) takeHeadsLocked(ev *Event) bool {
	size := 0
	for c.nextHead < len(c.dirty) && len(ev.Heads) < maxHeads {
		f := c.dirty[c.nextHead]
		if !f.gone && f.head.Newer(f.told) {
			if size += len(f.entry.name) + headBytes; size > maxHeadBytes {
				break
			}
			f.told = f.head
			ev.Heads = append(ev.Heads, FeedHead{Feed: f.entry.name, Head: f.head})
		}
		f.dirty = false
		c.dirty[c.nextHead] = nil
		c.nextHead++
		c.backlog--
	}
	switch left := len(c.dirty) - c.nextHead; {
	case left == 0 && cap(c.dirty) > 64: // a burst's memory is not kept
		c.dirty, c.nextHead = nil, 0
	case c.nextHead >= left: // so that the slice doesn't grow while it never runs empty
		copy(c.dirty, c.dirty[c.nextHead:])
		clear(c.dirty[left:])
		c.dirty, c.nextHead = c.dirty[:left], 0
	}
	if len(ev.Heads) == 0 {
		return false
	}
	c.turn = false
	ev.Kind = Changed
	return true
}
