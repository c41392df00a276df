package wire

import (
	"bytes"
	"cmp"
	"strconv"
)

// Cursor is a place in a feed's history in a form that is small and compares fast. The zero Cursor is "nothing".
type Cursor struct {
	Epoch uint64 // of the epoch's text, read in base 36
	Seq   int64
}

// ParseCursor reads "<epoch>-<seq>", of a walk cursor without its base. "" is the zero Cursor.
func ParseCursor(text []byte) (Cursor, bool) {
	if len(text) == 0 {
		return Cursor{}, true
	}
	epoch, seq, ok := bytes.Cut(text, []byte("-"))
	seq, _, _ = bytes.Cut(seq, []byte("~"))
	if !ok || len(epoch) == 0 || len(epoch) > 12 || len(seq) == 0 || len(seq) > 18 {
		return Cursor{}, false
	}
	var c Cursor
	for _, digit := range epoch {
		switch {
		case '0' <= digit && digit <= '9':
			c.Epoch = c.Epoch*36 + uint64(digit-'0')
		case 'a' <= digit && digit <= 'z':
			c.Epoch = c.Epoch*36 + uint64(digit-'a') + 10
		default:
			return Cursor{}, false
		}
	}
	for _, digit := range seq {
		if digit < '0' || digit > '9' {
			return Cursor{}, false
		}
		c.Seq = c.Seq*10 + int64(digit-'0')
	}
	return c, true
}

// Compare orders epochs first, then seqs.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Epoch, d.Epoch), cmp.Compare(c.Seq, d.Seq))
}

// Covers tells whether c is at d or beyond it.
func (c Cursor) Covers(d Cursor) bool { return c.Compare(d) >= 0 }

// String is the cursor as the protocol writes it, with the seven digits of an epoch.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	epoch := strconv.FormatUint(c.Epoch, 36)
	for len(epoch) < 7 {
		epoch = "0" + epoch
	}
	return epoch + "-" + strconv.FormatInt(c.Seq, 10)
}

// MarshalText and UnmarshalText make cursors of JSON the protocol's text.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Cursor) UnmarshalText(text []byte) error {
	parsed, ok := ParseCursor(text)
	if !ok {
		return &strconv.NumError{Func: "ParseCursor", Num: string(text), Err: strconv.ErrSyntax}
	}
	*c = parsed
	return nil
}
