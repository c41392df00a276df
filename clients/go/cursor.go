package doorbell

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// epochLen is the fixed width of an epoch: so many of [0-9a-z], which therefore sort as text.
const epochLen = 7

// cursor is a place in a feed's history. The zero cursor is "I have nothing". It keeps its text, because a cursor
// goes back to the server verbatim.
type cursor struct {
	text  string
	epoch string
	seq   int64
	base  int64 // above 0: a walk cursor; the head when the walk through a large snapshot began
}

// parseCursor reads "<epoch>-<seq>" or "<epoch>-<seq>~<base>", in the canonical spelling only. "" is the zero cursor.
func parseCursor(s string) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	epoch, rest, dash := strings.Cut(s, "-")
	seqText, baseText, walk := strings.Cut(rest, "~")
	c := cursor{text: s, epoch: epoch}
	ok := dash && len(epoch) == epochLen && strings.Trim(epoch, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
	if ok {
		c.seq, ok = parseSeq(seqText)
	}
	if ok && walk {
		c.base, ok = parseSeq(baseText)
		ok = ok && c.base > 0
	}
	if !ok {
		return cursor{}, fmt.Errorf("%q is not a cursor; allowed: one as Doorbell gave it, such as \"0k3f9xa-1042\"", s)
	}
	return c, nil
}

func parseSeq(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil && (s == "0" || s[0] != '0')
}

func (c cursor) isZero() bool { return c.epoch == "" }

// compare orders epochs first, then seqs; nothing is before everything. The base of a walk doesn't count.
func (c cursor) compare(d cursor) int {
	return cmp.Or(strings.Compare(c.epoch, d.epoch), cmp.Compare(c.seq, d.seq))
}

// covers tells whether an answer that ends at c was computed from data that includes d. A page of a walk was,
// when the walk began at or after d.
func (c cursor) covers(d cursor) bool {
	return cmp.Or(strings.Compare(c.epoch, d.epoch), cmp.Compare(max(c.seq, c.base), d.seq)) >= 0
}

// CompareCursors orders two cursors of one feed: -1 when a is older than b, 0 when they name the same place, +1 when a
// is newer. "" is older than everything. Cursors of different feeds can't be compared.
func CompareCursors(a, b string) (int, error) {
	x, err := parseCursor(a)
	if err != nil {
		return 0, fmt.Errorf("doorbell: %w", err)
	}
	y, err := parseCursor(b)
	if err != nil {
		return 0, fmt.Errorf("doorbell: %w", err)
	}
	return x.compare(y), nil
}
