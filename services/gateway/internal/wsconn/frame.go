package wsconn

import (
	"encoding/binary"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
)

// maxHead is the longest head of a frame of ours, in bytes: opcode, and a length of 0, 2 or 8 bytes more. Frames of servers
// have no mask.
const maxHead = 10

const final = 0x80

var _ outlet.Source = (*Conn)(nil)

// AppendFrame appends a whole frame whose payload is appended by the function, and gives the frame, which begins within b.
func AppendFrame(b []byte, opcode byte, payload func([]byte) []byte) []byte {
	from := len(b)
	b = payload(append(b, make([]byte, maxHead)...))
	head := b[from : from+maxHead]
	n := len(b) - from - maxHead
	switch {
	case n < 126:
		head = head[maxHead-2:]
		head[1] = byte(n)
	case n < 1<<16:
		head = head[maxHead-4:]
		head[1] = 126
		binary.BigEndian.PutUint16(head[2:], uint16(n))
	default:
		head[1] = 127
		binary.BigEndian.PutUint64(head[2:], uint64(n))
	}
	head[0] = final | opcode
	return b[from+maxHead-len(head):]
}

// Opcode is that of the subprotocol's messages.
func (s Subprotocol) Opcode() byte {
	if s.Binary {
		return websocket.BinaryMessage
	}
	return websocket.TextMessage
}

// farewell is how far the close frame has come.
type farewell uint8

const (
	unsaid farewell = iota
	saying
	said
)

// Frame is the outlet's: the next frame, in the order of how little it can wait. Between two frames, so that nothing waits
// behind a stream of signals.
func (c *Conn) Frame(b []byte) []byte {
	c.mu.Lock()
	c.pingWrittenLocked()
	d, reason, quiet, pong := c.dialogue, c.reason, c.quiet, c.pong
	c.pong = nil
	ping := reason == nil && pong == nil && c.pingLocked()
	c.mu.Unlock()
	switch {
	case reason != nil && !quiet: // a signal could still come after the farewell
		return nil
	case reason != nil:
		return c.farewell(b, reason)
	case pong != nil:
		return control(b, websocket.PongMessage, []byte(*pong))
	case ping:
		return control(b, websocket.PingMessage, nil)
	case d == nil: // woken before Start, which wakes again
		return nil
	}
	return c.message(b, d.Next)
}

// message appends a frame with a message of the dialogue's; nil: it has none.
func (c *Conn) message(b []byte, next func([]byte) []byte) (frame []byte) {
	c.guarded(func() {
		empty := true
		whole := AppendFrame(b, c.opt.Subprotocols[c.spoken].Opcode(), func(b []byte) []byte {
			n := len(b)
			b = next(b)
			empty = len(b) == n
			return b
		})
		if !empty {
			frame = whole
		}
	})
	return frame
}

// farewell tells the peer why the connection ends, unless it is past telling.
func (c *Conn) farewell(b []byte, e *ending) []byte {
	switch c.said {
	case unsaid:
		if c.said = saying; e.tell {
			return control(b, websocket.CloseMessage, websocket.FormatCloseMessage(e.Code, e.Reason))
		}
		fallthrough
	case saying:
		c.said = said
		c.through(writing)
	case said:
	}
	return nil
}

func control(b []byte, opcode byte, payload []byte) []byte {
	return AppendFrame(b, opcode, func(b []byte) []byte { return append(b, payload...) })
}

// WriteFailed is the outlet's.
func (c *Conn) WriteFailed(err error) {
	c.failed("write", err)
	c.through(writing)
}
