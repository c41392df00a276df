package feed

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// Cursor is a place in a feed's history: everything up to and including Seq of Epoch. The zero Cursor is the place
// before any history ("I have nothing", or "there is no such feed"); it is written as "".
//
// Base is set in a walk cursor only: the head when a walk through a snapshot that needs several pages began.
// A reader at such a cursor has the live items up to Seq, and will be told of deletions after Base.
//
// Text: "<epoch>-<seq>", "<epoch>-<seq>~<base>". Only the canonical spelling is accepted (no leading zeros, no signs),
// so that one place has one URL and caches are not split.
type Cursor struct {
	Epoch Epoch
	Seq   int64 // 0 to math.MaxInt64
	Base  int64 // 0: not a walk cursor
}

// ParseCursor reads a cursor's text. The error is a [*SyntaxError] that says what is allowed; "" is an error
// here (see [ParseOptionalCursor]).
func ParseCursor(s string) (Cursor, error) {
	epochText, rest, dash := strings.Cut(s, "-")
	epoch, ok := parseEpoch(epochText)
	if !dash || !ok {
		return Cursor{}, cursorError(s, "has no epoch")
	}
	seqText, baseText, walk := strings.Cut(rest, "~")
	c := Cursor{Epoch: epoch}
	if c.Seq, ok = ParseSeq(seqText); !ok {
		return Cursor{}, cursorError(s, "has no seq")
	}
	if walk {
		if c.Base, ok = ParseSeq(baseText); !ok || c.Base == 0 {
			return Cursor{}, cursorError(s, "has no base after '~'")
		}
	}
	return c, nil
}

// ParseOptionalCursor is ParseCursor, and takes "" for the zero Cursor.
func ParseOptionalCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	return ParseCursor(s)
}

// ParseSeq reads a seq: decimal, 0 to math.MaxInt64, without sign or leading zeros.
func ParseSeq(s string) (int64, bool) {
	if s == "" || len(s) > 19 || (s[0] == '0' && s != "0") {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	if n > math.MaxInt64 {
		return 0, false
	}
	return int64(n), true
}

// IsZero tells whether c is the place before any history.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Walk tells whether c is a walk cursor.
func (c Cursor) Walk() bool { return c.Base > 0 }

// Compare orders the heads that two cursors name: epochs before seqs. Base does not count.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Epoch, d.Epoch), cmp.Compare(c.Seq, d.Seq))
}

// Covers tells whether a reader at c has everything that d names: c is d or newer.
func (c Cursor) Covers(d Cursor) bool { return c.Compare(d) >= 0 }

// String is the cursor's text.
func (c Cursor) String() string { return string(c.Append(nil)) }

// Append appends the cursor's text to b.
func (c Cursor) Append(b []byte) []byte {
	if c.IsZero() {
		return b
	}
	b = c.Epoch.append(b)
	b = append(b, '-')
	b = strconv.AppendInt(b, c.Seq, 10)
	if c.Walk() {
		b = append(b, '~')
		b = strconv.AppendInt(b, c.Base, 10)
	}
	return b
}

func cursorError(s, problem string) error {
	return &SyntaxError{
		What: "cursor", Input: s, Problem: problem,
		Allowed: `"<epoch>-<seq>" as Doorbell gave it, such as "0k3f9xa-1042"`,
	}
}
