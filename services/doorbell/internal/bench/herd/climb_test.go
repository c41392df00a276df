//go:build linux

package herd

import (
	"testing"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

func at(seq int64) wire.Cursor { return wire.Cursor{Epoch: 7, Seq: seq} }

// told is a climb of a client that was told of some heads.
func told(seqs ...int64) *climb {
	c := &climb{}
	for _, seq := range seqs {
		c.remember(at(seq))
	}
	return c
}

func TestWhoIsLateGoesTheWayOfTheCrowd(t *testing.T) {
	c := told(2, 3, 5, 8)
	if got := c.begin(at(8)); got != at(2) {
		t.Errorf("the first step goes to %v", got)
	}
	c.pages = 1
	c.reached(at(2))
	c.remember(at(9)) // while it asked
	if !c.goOn(at(2).String(), false) {
		t.Fatal("three heads that were known are left, and it is done")
	}
	want := []step{{at(2).String(), at(3)}, {at(3).String(), at(5)}, {at(5).String(), at(8)}, {at(8).String(), at(9)}}
	if len(c.rest) != len(want) {
		t.Fatalf("the rest is %v", c.rest)
	}
	for i, s := range c.rest {
		if s != want[i] {
			t.Errorf("step %d is %v, want %v", i, s, want[i])
		}
	}
	c.reached(at(6)) // and not 8: the steps didn't fit
	if !c.goOn(at(6).String(), true) || c.begin(at(9)) != at(9) {
		t.Error("what the steps have left isn't asked for at once")
	}
	c.reached(at(9))
	if c.goOn(at(9).String(), false) || c.straight {
		t.Error("it goes on, with nothing left")
	}
}

func TestNoStepsWithoutNeed(t *testing.T) {
	c := told(2, 3)
	c.begin(at(3))
	c.pages = 1
	c.reached(at(3)) // the origin's word
	c.remember(at(4))
	c.remember(at(5))
	if c.goOn(at(3).String(), false) {
		t.Error("what came while it asked is taken for the sign of a cache")
	}
	c = told(2, 3, 4)
	c.begin(at(4))
	c.fail()
	if got := c.begin(at(4)); got != at(4) {
		t.Errorf("after a failure it asks for %v", got)
	}
	c = told(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
	if got := c.begin(at(16)); got != at(1) {
		t.Errorf("of 16 heads it asks for %v", got)
	}
	c.remember(at(17))
	if got := c.begin(at(17)); got != at(17) {
		t.Errorf("of 17 heads it asks for %v", got)
	}
	c = told(2, 3)
	c.remember(wire.Cursor{Epoch: 8})
	if len(c.ahead) != 1 {
		t.Errorf("another epoch, and it remembers %v", c.ahead)
	}
}
