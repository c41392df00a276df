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
	// Number is the feed's for as long as anybody follows it here: short enough to stand for the name.
	Number uint32
	Head   bus.Head
	// NewEpoch says that the client has not been told of this epoch, or of any head at all.
	NewEpoch bool
	// Spread is how long its readers' pulls are to be spread over, in ms; 0: not at all.
	Spread uint32
	// Trace is what pulls for this head are part of; "": nothing that is traced.
	Trace string
}

const (
	// maxHeads and maxHeadBytes bound one Changed, so that a client with many feeds gets several frames.
	maxHeads     = 1000
	maxHeadBytes = 60 << 10
	// headBytes is the most that a feed takes beside its name: `"":"0k3f9xa-9223372036854775807",`.
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
	p := c.pendingLocked()
	p.weight += a.weight
	p.answers = append(p.answers, a)
	c.out.Wake()
}

func (c *Client) pendingLocked() *pending {
	if c.pending == nil {
		c.pending = new(pending)
		c.pending.room.L = &c.mu
	}
	return c.pending
}

// WaitRoom waits until there is room for another answer, so that a client who sends commands and reads no answers is
// not read from. It tells whether the client is still open.
func (c *Client) WaitRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pending != nil && c.pending.weight >= MaxWeight {
		c.pending.room.Wait()
	}
	return !c.closed
}

// settle counts one feed that a waits for.
func (c *Client) settle(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.waiting--; a.waiting == 0 {
		c.out.Wake()
	}
}

// mark notes that there is a head to tell of f's feed, unless the client has been told it already.
func (c *Client) mark(f *follow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.markLocked(f) {
		c.out.Wake()
	}
}

// markLocked is mark with mu held. It tells whether there is something new to say.
func (c *Client) markLocked(f *follow) bool {
	if f.dirty {
		c.hub.merged.Add(1)
	}
	if f.gone || !f.announced || f.dirty || !f.entry.current().Newer(f.told) {
		return false
	}
	f.dirty = true
	p := c.pendingLocked()
	p.dirty = append(p.dirty, f)
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
		for _, f := range c.follows {
			c.markLocked(f)
		}
	}
	if p := c.pending; p != nil {
		p.backlog = len(p.dirty) - p.nextHead
	}
	c.out.Wake()
}

// Next fills in ev with what the client is to be told next, reusing its Heads. What has been taken counts as told.
func (c *Client) Next(ev *Event) {
	*ev = Event{Heads: ev.Heads[:0]}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.takeLivenessLocked(ev) || c.pending == nil {
		return
	}
	p := c.pending
	if c.turn { // neither a stream of commands nor one of signals starves the other
		_ = c.takeHeadsLocked(p, ev) || c.takeAnswerLocked(p, ev)
	} else {
		_ = c.takeAnswerLocked(p, ev) || c.takeHeadsLocked(p, ev)
	}
	if len(p.answers) == 0 && len(p.dirty) == 0 {
		c.pending = nil
	}
	if ev.Kind == Nothing { // the backlog may have been of unfollowed feeds only
		c.takeLivenessLocked(ev)
	}
}

func (c *Client) takeLivenessLocked(ev *Event) bool {
	if c.alive == c.told || (c.alive && c.pending != nil && c.pending.backlog > 0) {
		return false
	}
	c.told = c.alive
	ev.Kind, ev.Alive = Liveness, c.alive
	return true
}

func (c *Client) takeAnswerLocked(p *pending, ev *Event) bool {
	waiting := false
	for i, a := range p.answers {
		if a.waiting > 0 || (waiting && !a.urgent) {
			waiting = true
			continue
		}
		p.answers = slices.Delete(p.answers, i, i+1)
		p.weight -= a.weight
		p.room.Broadcast()
		c.turn = true
		ev.Kind, ev.Tag = Answer, a.tag
		for _, f := range a.follows {
			f.announced = true
			told := bus.Head{}
			if c.alive && !f.gone { // a head from before the bus was lost may have been overtaken unheard
				told = f.entry.current()
			}
			ev.add(f, told)
			f.told = told
		}
		return true
	}
	return false
}

// add says head, which f's client has not been told yet.
func (ev *Event) add(f *follow, head bus.Head) {
	ev.Heads = append(ev.Heads, FeedHead{
		Feed: f.entry.name, Number: f.entry.number, Head: head, NewEpoch: f.told.Cursor.Epoch != head.Cursor.Epoch,
		Spread: f.entry.spreadMillis(), Trace: f.client.hub.traces.text(f.entry, head),
	})
}

func (c *Client) takeHeadsLocked(p *pending, ev *Event) bool {
	size := 0
	for p.nextHead < len(p.dirty) && len(ev.Heads) < maxHeads {
		f := p.dirty[p.nextHead]
		if head := f.entry.current(); !f.gone && head.Newer(f.told) {
			if size += len(f.entry.name) + headBytes; size > maxHeadBytes {
				break
			}
			ev.add(f, head)
			f.told = head
		}
		f.dirty = false
		p.dirty[p.nextHead] = nil
		p.nextHead++
		p.backlog--
	}
	if left := len(p.dirty) - p.nextHead; p.nextHead >= left { // so that the slice doesn't grow while it never runs empty
		copy(p.dirty, p.dirty[p.nextHead:])
		clear(p.dirty[left:])
		p.dirty, p.nextHead = p.dirty[:left], 0
	}
	if len(ev.Heads) == 0 {
		return false
	}
	c.turn = false
	ev.Kind = Changed
	return true
}
