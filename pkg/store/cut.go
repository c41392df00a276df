package store

import (
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// CutEvery is what the seqs are multiples of at which answers end that don't reach the head.
const CutEvery = 1000

// rowBytes is what a change costs in an answer beside its key and value: member names, seq, punctuation.
const rowBytes = 40

// Size is about how many bytes a change takes in an answer; what Query.MaxBytes counts.
func Size(c feed.Change) int { return len(c.Key) + len(c.Value) + rowBytes }

// Cut ends an answer that doesn't reach the head, of at least one change, and tells at which seq: the last multiple of
// CutEvery that leaves a change before it, or else that of the last change. So readers who are behind by different
// lengths, or ask for pages of different sizes, meet at the same places and go on by the same URLs.
func Cut(changes []feed.Change) ([]feed.Change, int64) {
	last := changes[len(changes)-1].Seq
	round := last - last%CutEvery
	if round < changes[0].Seq {
		return changes, last
	}
	end, _ := slices.BinarySearchFunc(changes, round+1, func(c feed.Change, seq int64) int {
		switch {
		case c.Seq < seq:
			return -1
		case c.Seq > seq:
			return 1
		}
		return 0
	})
	return changes[:end], round
}
