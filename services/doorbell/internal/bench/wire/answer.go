package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// ErrAnswer says that a server's HTTP answer is not one that this package reads.
var ErrAnswer = errors.New("a malformed answer")

// maxHead bounds an answer's head, in bytes.
const maxHead = 64 << 10

// Head is the head of an HTTP/1.1 answer.
type Head struct {
	Status int
	// Length is of the body, in bytes; -1: it isn't said.
	Length  int
	Chunked bool
	// Close: no other answer follows on this connection.
	Close bool
	raw   []byte
}

// NextHead reads the head that b begins with and gives how many bytes it has, 0 while it isn't whole. The Head points into b.
func NextHead(b []byte) (h Head, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHead {
			return h, 0, fmt.Errorf("%w: its head is larger than %d bytes", ErrAnswer, maxHead)
		}
		return h, 0, nil
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) || end < 12 {
		return h, 0, fmt.Errorf("%w: %.40q", ErrAnswer, b)
	}
	h.raw = b[:end+2]
	h.Length = -1
	if h.Status, err = strconv.Atoi(string(b[9:12])); err != nil {
		return h, 0, fmt.Errorf("%w: %.40q", ErrAnswer, b)
	}
	if length := h.Get("Content-Length"); length != nil {
		if h.Length, err = strconv.Atoi(string(length)); err != nil || h.Length < 0 {
			return h, 0, fmt.Errorf("%w: Content-Length %q", ErrAnswer, length)
		}
	}
	h.Chunked = bytes.EqualFold(h.Get("Transfer-Encoding"), []byte("chunked"))
	h.Close = bytes.EqualFold(h.Get("Connection"), []byte("close"))
	if h.Status == 304 || h.Status == 204 || h.Status < 200 {
		h.Length, h.Chunked = 0, false
	}
	return h, end + 4, nil
}

// Get is the first value of a field, nil if there is none. Names match in whatever case.
func (h Head) Get(name string) []byte {
	rest := h.raw
	for {
		end := bytes.Index(rest, []byte("\r\n"))
		if end < 0 {
			return nil
		}
		line := rest[:end]
		rest = rest[end+2:]
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
}

// NextAnswer reads a whole answer with its body; n is 0 while it isn't whole. A chunked body is copied together, any other is
// a part of b.
func NextAnswer(b []byte) (h Head, body []byte, n int, err error) {
	h, n, err = NextHead(b)
	if err != nil || n == 0 {
		return h, nil, 0, err
	}
	if h.Chunked {
		var c Chunks
		used, done, err := c.Next(b[n:], func(part []byte) { body = append(body, part...) })
		if err != nil || !done {
			return h, nil, 0, err
		}
		return h, body, n + used, nil
	}
	if h.Length < 0 {
		return h, nil, 0, fmt.Errorf("%w: its length isn't said", ErrAnswer)
	}
	if len(b) < n+h.Length {
		return h, nil, 0, nil
	}
	return h, b[n : n+h.Length], n + h.Length, nil
}
