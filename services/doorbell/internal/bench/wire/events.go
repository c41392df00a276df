package wire

import "bytes"

// NextLine gives the first whole line of an event stream, and how many bytes it takes with its end; n is 0 while it
// isn't whole. data is what comes after "data:", nil on every other line: Doorbell's events, like nchan's, have one line of data,
// which says by itself what it is.
func NextLine(b []byte) (data []byte, n int) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, 0
	}
	line := bytes.TrimSuffix(b[:end], []byte("\r"))
	if text, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		data = bytes.TrimPrefix(text, []byte(" "))
	}
	return data, end + 1
}
