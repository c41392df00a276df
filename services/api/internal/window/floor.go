package window

import (
	"strconv"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Floor is what an answer must not be older than. The zero Floor is met by anything.
type Floor struct {
	Cursor feed.Cursor // never a walk cursor
	// Bare: Cursor.Seq is meant in whatever epoch the feed is in; Cursor.Epoch is 0.
	Bare bool
}

// Beyond is the floor that only heads newer than c meet; for the zero Cursor, any head of a feed that exists.
func Beyond(c feed.Cursor) Floor {
	if c.IsZero() {
		return Floor{Cursor: feed.Cursor{Epoch: 1}}
	}
	return Floor{Cursor: feed.Cursor{Epoch: c.Epoch, Seq: c.Seq + 1}}
}

// IsZero tells whether there is no floor.
func (f Floor) IsZero() bool { return f == Floor{} }

// Met tells whether a database snapshot with that head covers the floor; the zero head is that of a feed that doesn't
// exist.
func (f Floor) Met(head feed.Cursor) bool {
	if f.Bare {
		return head.Seq >= f.Cursor.Seq
	}
	return head.Covers(f.Cursor)
}

func (f Floor) String() string {
	if f.Bare {
		return strconv.FormatInt(f.Cursor.Seq, 10)
	}
	return f.Cursor.String()
}
