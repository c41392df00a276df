package wire

import (
	"bytes"
	"fmt"
	"strconv"
)

// Chunks takes the chunked coding off a body that comes in parts. The zero Chunks is at a body's beginning.
type Chunks struct {
	left int  // bytes of the present chunk
	tail bool // the line end after it comes next
}

// Next gives the data of b to emit and tells how many bytes it has used up: all, but for the beginning of a line that isn't
// whole. done: that was the last chunk. Trailers are not supported.
func (c *Chunks) Next(b []byte, emit func([]byte)) (used int, done bool, err error) {
	for used < len(b) {
		rest := b[used:]
		switch {
		case c.left > 0:
			n := min(c.left, len(rest))
			emit(rest[:n])
			c.left -= n
			c.tail = c.left == 0
			used += n
		case c.tail:
			if len(rest) < 2 {
				return used, false, nil
			}
			c.tail = false
			used += 2
		default:
			end := bytes.Index(rest, []byte("\r\n"))
			if end < 0 {
				return used, false, nil
			}
			size, err := strconv.ParseUint(string(rest[:end]), 16, 31)
			if err != nil {
				return used, false, fmt.Errorf("%w: a chunk of size %.20q", ErrAnswer, rest[:end])
			}
			if size == 0 {
				if len(rest) < end+4 {
					return used, false, nil
				}
				return used + end + 4, true, nil
			}
			c.left = int(size)
			used += end + 2
		}
	}
	return used, false, nil
}
