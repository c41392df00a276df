//go:build linux

package herd

import (
	"slices"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// maxAhead is how many heads a client remembers that it hasn't reached, as the protocol says (§4).
const maxAhead = 16

// climb is how a client that is several heads behind gets to the newest: the protocol's "who is behind goes the way of the crowd".
// The zero climb is of a client that was told of nothing.
type climb struct {
	ahead []wire.Cursor // told and not reached, oldest first
	newer wire.Cursor   // the newest of them when the pull began
	rest  []step        // asked for after the first step, the one under way first
	// straight: a step failed, or steps have left something; the newest is next.
	straight bool
	pages    int // of the pull under way
}

// step is a delta that others may have asked for when they were on time.
type step struct {
	since string
	to    wire.Cursor
}

// remember takes a head that is newer than all others.
func (c *climb) remember(head wire.Cursor) {
	if len(c.ahead) == maxAhead || len(c.ahead) > 0 && c.ahead[0].Epoch != head.Epoch {
		c.ahead = c.ahead[:0]
	}
	c.ahead = append(c.ahead, head)
}

// reached drops what a client at that cursor has.
func (c *climb) reached(at wire.Cursor) {
	c.ahead = slices.DeleteFunc(c.ahead, at.Covers)
}

// begin gives the head to pull for, of those up to want.
func (c *climb) begin(want wire.Cursor) wire.Cursor {
	c.newer, c.pages, c.rest = want, 0, nil
	if c.straight || len(c.ahead) == 0 {
		return want
	}
	return c.ahead[0]
}

// goOn tells, after a pull that has brought the client to a cursor, whether there is more to ask for at once: the steps in rest, or
// the newest.
func (c *climb) goOn(cursor string, leapt bool) bool {
	known := len(c.ahead) > 0 && c.newer.Covers(c.ahead[0])
	switch {
	case c.straight || !known:
		c.straight = false
		return false
	case leapt || c.pages > 1 || len(c.ahead) == 1:
		c.straight = true
		return true
	}
	for _, head := range c.ahead {
		c.rest = append(c.rest, step{cursor, head})
		cursor = head.String()
	}
	return true
}

// fail gives the steps up.
func (c *climb) fail() { c.rest, c.straight = nil, true }
