package feed

// Edit is what a writer asks for: one item put, or deleted.
type Edit struct {
	Key     string
	Value   []byte // JSON text, kept byte for byte; nil when Deleted
	Deleted bool
	// If is the cursor that the item must have for the write to happen; the zero Cursor: the item must not exist.
	// nil: no condition.
	If *Cursor
}

// Change is an item's latest change: an item, or the tombstone of one.
type Change struct {
	Key     string
	Seq     int64
	Deleted bool
	Value   []byte // JSON text as it was accepted; nil when Deleted
}

// Delta is what brings a reader from Since to Cursor: each item whose latest change lies between, once, in seq
// order. Applied at exactly Since it stays valid for ever. With a zero Since it is a snapshot (no tombstones).
//
// Change values are shared and must not be modified.
type Delta struct {
	Feed Name
	// Since is where the reader was, in full: a bare seq has become a cursor of the current epoch.
	Since Cursor
	// Cursor is where the reader is once it has applied the delta. When More, it is short of the head (and a walk cursor
	// while a snapshot is still being walked); otherwise it is Head.
	Cursor Cursor
	More   bool
	// Trimmed is the seq up to which the feed's oldest items have been dropped for its max_items: the reader drops
	// those that it still has, too. 0: none ever were.
	Trimmed int64
	Changes []Change
	// Head is the feed's head in the database snapshot that the delta was read from.
	Head Cursor
}

// Item is one item on its own.
type Item struct {
	Feed   Name
	Key    string
	Cursor Cursor // of its latest change
	Value  []byte // JSON text as it was accepted
}
