package window

import (
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func at(seq int64) feed.Cursor { return feed.Cursor{Epoch: 1, Seq: seq} }

func TestFloor(t *testing.T) {
	older, newer := feed.Cursor{Epoch: 1, Seq: 9}, feed.Cursor{Epoch: 2, Seq: 3}
	for _, tc := range []struct {
		floor Floor
		head  feed.Cursor
		met   bool
	}{
		{Floor{}, feed.Cursor{}, true},
		{Floor{Cursor: older}, older, true},
		{Floor{Cursor: older}, newer, true},
		{Floor{Cursor: newer}, older, false},
		{Floor{Cursor: older}, at(8), false},
		{Floor{Cursor: older}, feed.Cursor{}, false},
		{Floor{Cursor: feed.Cursor{Seq: 3}, Bare: true}, newer, true},
		{Floor{Cursor: feed.Cursor{Seq: 4}, Bare: true}, newer, false},
		{Floor{Cursor: feed.Cursor{Seq: 1}, Bare: true}, feed.Cursor{}, false},
		{Floor{Bare: true}, feed.Cursor{}, true},
	} {
		if got := tc.floor.Met(tc.head); got != tc.met {
			t.Errorf("%v met by %v: %v", tc.floor, tc.head, got)
		}
	}
}
