// Package feed holds Doorbell's domain: what a feed is and how its history is counted.
//
// A feed is a named set of items with one history. Each change to an item takes the feed's next seq
// (1, 2, 3 …, no gaps, in commit order); the newest committed seq is the head. A reader says how far it
// has come with a [Cursor] ("0k3f9xa-1042": epoch and seq) and gets a [Delta]: the items whose latest change
// lies beyond it. The epoch is the feed's birth mark; a feed that is dropped, or whose history may have been
// rewound, gets a later one, and cursors of the old one are answered with a reset.
//
//	writer ── Edit ──▶ store: seq 1041, 1042 … ──▶ Delta{Since, Cursor, Changes} ──▶ reader
//
// The package imports the standard library only; its values are immutable and safe to share.
package feed
