// Package lines sends header fields that were written out beforehand.
//
// net/http takes a map of fields, copies it, sorts it and writes it, for each answer anew: of an answer from memory with a dozen
// fields that is the larger part of all the work, although the fields of many answers are the same. Who has them as lines hands
// them over here, and they are put between the status line and the fields that net/http writes. Requests, framing and the
// connection's state stay net/http's business entirely.
//
//	server.Front(lines.Listener)                       // HTTP/1 without TLS; elsewhere Send says no
//	server := http.Server{ConnContext: lines.Context}  // as httphost's servers have
//	if lines.Send(r, prepared) { … } else { … }        // the fields in the map, as always
package lines

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Lines are fields as they go over the wire. They may be shared, and aren't changed.
type Lines []byte

// Of writes fields out. Those that net/http sees to (Date, Connection, and what tells how long and of what type the body is) have
// no business here. With a name or a value that can't be one, there are no lines.
func Of(h http.Header) Lines {
	var l Lines
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name == "" || strings.ContainsFunc(name, notOfNames) {
			return nil
		}
		for _, value := range h[name] {
			if strings.ContainsFunc(value, notOfValues) {
				return nil
			}
			l = append(append(l, name...), ": "...)
			l = append(append(l, value...), "\r\n"...)
		}
	}
	return l
}

func notOfNames(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

func notOfValues(r rune) bool { return r < ' ' || r > '~' }

// Listener accepts connections of l on which lines can be sent.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &conn{TCPConn: tcp}, err
	}
	return c, err
}

type contextKey struct{}

// Context is the ConnContext of a server that is to send lines.
func Context(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, contextKey{}, c)
	}
	return ctx
}

// Send has the lines sent with the answer to r, which is to be written next, by the same goroutine or one that it waits for, and
// has none of these fields in its map. It tells whether they will be: not over TLS or HTTP/2, nor when there are none. Requests
// with bodies are refused as well: to them more may be said before the answer.
func Send(r *http.Request, l Lines) bool {
	if len(l) == 0 || r.ProtoMajor != 1 || r.ContentLength != 0 {
		return false
	}
	c, ok := r.Context().Value(contextKey{}).(*conn)
	if ok {
		c.lines = l
	}
	return ok
}

// conn is a connection. Like net/http's side of it, it is written to by one goroutine at a time.
type conn struct {
	*net.TCPConn
	lines Lines // go with the next answer
}

// most is about what net/http writes at once, and lines.
const most = 8 << 10

var buffers = sync.Pool{New: func() any { return new([most]byte) }}

// Write writes b, which begins an answer where there are lines: net/http flushes at the end of each.
func (c *conn) Write(b []byte) (int, error) {
	if c.lines == nil {
		return c.TCPConn.Write(b)
	}
	status := bytes.IndexByte(b, '\n') + 1
	room, _ := buffers.Get().(*[most]byte)
	all := append(append(append(room[:0], b[:status]...), c.lines...), b[status:]...)
	c.lines = nil
	_, err := c.TCPConn.Write(all)
	buffers.Put(room)
	if err != nil {
		return 0, err // the connection is of no use any more
	}
	return len(b), nil
}
