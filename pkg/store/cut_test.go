package store

import (
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		seqs []int64
		end  int64
		kept int
	}{
		{[]int64{1}, 1, 1},
		{[]int64{1, 2, 999}, 999, 3},
		{[]int64{1, 2, 1000}, 1000, 3},
		{[]int64{1, 2, 1001}, 1000, 2},
		{[]int64{998, 999, 1001, 2500}, 2000, 3},
		{[]int64{1001, 1500, 1999}, 1999, 3},
		{[]int64{999, 5001}, 5000, 1},
		{[]int64{2000, 2001}, 2000, 1},
		{[]int64{3500}, 3500, 1},
	} {
		var changes []feed.Change
		for _, seq := range tc.seqs {
			changes = append(changes, feed.Change{Seq: seq})
		}
		if kept, end := Cut(changes); len(kept) != tc.kept || end != tc.end {
			t.Errorf("%v ends at %d with %d changes; want %d with %d", tc.seqs, end, len(kept), tc.end, tc.kept)
		}
	}
}
