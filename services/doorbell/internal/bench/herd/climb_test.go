//go:build linux

package herd

import (
	"slices"
	"testing"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

func at(seq int64) wire.Cursor { return wire.Cursor{Epoch: 7, Seq: seq} }

// heads are the cursors of seqs.
func heads(seqs ...int64) []wire.Cursor {
	var all []wire.Cursor
	for _, seq := range seqs {
		all = append(all, at(seq))
	}
	return all
}

func told(seqs ...int64) *climb {
	c := &climb{}
	for _, head := range heads(seqs...) {
		c.remember(head, false)
	}
	return c
}

func TestWhoIsLateGoesTheWayOfTheCrowd(t *testing.T) {
	for name, test := range map[string]struct {
		first  int64 // where the first step leads from 1
		places []wire.Cursor
	}{
		"single changes":         {2, heads(2, 3, 4, 5, 6, 7, 8)},
		"several in each":        {3, heads(3, 5, 8)},
		"all there was":          {8, nil},
		"further than was known": {12, nil},
	} {
		c := told(3, 5, 8)
		if got := c.begin(at(1), at(8)); got != at(2) {
			t.Errorf("%s: the first step goes to %v", name, got)
		}
		c.pages = 1
		c.reached(at(1), at(test.first))
		c.remember(at(9), false) // while it asked
		if got := c.goOn(at(test.first), at(9)); got != (test.places != nil) || !slices.Equal(c.places, test.places) {
			t.Errorf("%s: %v, the steps are from %v, want %v", name, got, c.places, test.places)
		}
	}
}

func TestWhatStepsLeaveComesByAMilestone(t *testing.T) {
	c := told(5, 9, 30)
	c.begin(at(1), at(30))
	c.pages = 1
	c.reached(at(1), at(3))
	for leap := range maxLeaps {
		if !c.goOn(at(3), at(30)) || len(c.places) != 3 {
			t.Fatalf("leap %d is from %v", leap, c.places)
		}
		c.places = nil // and none of them fitted
	}
	if !c.goOn(at(3), at(30)) || c.places != nil || c.begin(at(3), at(30)) != at(16) {
		t.Error("what the steps have left isn't asked for")
	}
	c.reached(at(3), at(31))
	if c.goOn(at(31), at(32)) || c.begin(at(31), at(32)) != at(32) {
		t.Error("it goes on, with nothing left that was known")
	}
	c.fail()
	if got := c.begin(at(40), at(44)); got != at(44) {
		t.Errorf("after a failure it asks for %v", got)
	}
}

func TestWhoIsTooFarBehindGoesToAMilestone(t *testing.T) {
	var many []int64
	for seq := int64(5); seq <= 5*maxAhead; seq += 5 {
		many = append(many, seq)
	}
	c := told(many...)
	if got := c.begin(at(0), at(80)); got != at(1) {
		t.Errorf("who was told of all asks for %v", got)
	}
	c.remember(at(85), false)
	if got := c.begin(at(0), at(85)); got != at(80) {
		t.Errorf("who has forgotten some asks for %v", got)
	}
	c = &climb{}
	c.remember(at(50), true)
	if got := c.begin(at(1), at(50)); got != at(2) {
		t.Errorf("after a short break it asks for %v", got)
	}
	if got := c.begin(at(0), at(50)); got != at(48) {
		t.Errorf("after a long break it asks for %v", got)
	}
	c.reached(at(0), at(48)) // a cache's answer
	if !c.goOn(at(48), at(50)) || !slices.Equal(c.places, heads(48)) {
		t.Errorf("from a milestone it goes on by steps from %v", c.places)
	}
	c = told(2, 3)
	if c.remember(wire.Cursor{Epoch: 8}, false); len(c.ahead) != 1 {
		t.Errorf("another epoch, and it remembers %v", c.ahead)
	}
}
