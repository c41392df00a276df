//go:build linux

package herd

import (
	"slices"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// The protocol's figures for who is behind (§4).
const (
	maxAhead = 16 // heads that are remembered, and steps asked for at once
	maxLeaps = 3
	maxClimb = 1 + maxLeaps*maxAhead
)

// climb is how a client that is behind gets to the newest head: the protocol's "who is behind goes the way of the crowd".
// The zero climb is of a client that was told of nothing.
type climb struct {
	ahead []wire.Cursor // told and not reached, oldest first
	gap   wire.Cursor   // up to here others may have been told of heads that this client doesn't know

	// Of the pull under way.
	known  wire.Cursor   // the newest head when it was asked
	places []wire.Cursor // where others may have been, whose steps are asked for; the first is the one under way
	leaps  int
	single bool // a step of the last answers led just one seq on
	pages  int
	// straight: a step failed; the newest is next. far: it is too far for steps, or they have left something; a milestone is next.
	straight, far bool
}

// milestone is the newest place between two cursors that all who are far behind ask for.
func milestone(at, want wire.Cursor) wire.Cursor {
	if seq := want.Seq / maxAhead * maxAhead; seq > at.Seq {
		want.Seq = seq
	}
	return want
}

// next is the cursor one seq on.
func next(at wire.Cursor) wire.Cursor { return wire.Cursor{Epoch: at.Epoch, Seq: at.Seq + 1} }

// remember takes a head that is newer than all others. since: it was told by a new subscription.
func (c *climb) remember(head wire.Cursor, since bool) {
	if since || len(c.ahead) == maxAhead || len(c.ahead) > 0 && c.ahead[0].Epoch != head.Epoch {
		c.ahead, c.gap = c.ahead[:0], head
	}
	c.ahead = append(c.ahead, head)
}

// reached notes that an answer has brought the client from one cursor to another.
func (c *climb) reached(from, to wire.Cursor) {
	c.ahead = slices.DeleteFunc(c.ahead, to.Covers)
	c.single = c.single || to == next(from)
}

// begin gives the head to ask for at first, of a client at a cursor that wants another.
func (c *climb) begin(at, want wire.Cursor) wire.Cursor {
	c.known, c.places, c.leaps, c.single, c.pages = want, nil, 0, false, 0
	c.straight = c.straight || at.Epoch != want.Epoch
	c.far = c.far || !at.Covers(c.gap) && want.Seq-at.Seq > maxClimb
	switch {
	case c.straight:
		return want
	case c.far:
		return milestone(at, want)
	}
	return next(at)
}

// goOn tells, when all that was asked for has been answered, whether there is more to ask for at once: the steps from places, or
// a milestone.
func (c *climb) goOn(at, want wire.Cursor) bool {
	if c.straight || at.Covers(c.known) {
		c.straight, c.far = false, false
		return false
	}
	if c.far {
		c.far, c.leaps = false, 0
	} else if c.pages > 1 || c.leaps == maxLeaps || at.Epoch != want.Epoch {
		c.far = true
		return true
	}
	c.known = want
	c.leaps++
	c.places = append(c.places, at)
	if c.single {
		for at = next(at); !at.Covers(c.known) && len(c.places) < maxAhead; at = next(at) {
			c.places = append(c.places, at)
		}
	} else {
		for _, head := range c.ahead {
			if !head.Covers(c.known) && len(c.places) < maxAhead {
				c.places = append(c.places, head)
			}
		}
	}
	c.single = false
	return true
}

// fail gives the steps up.
func (c *climb) fail() { c.places, c.straight = nil, true }
