// Package wire reads and writes what goes over the load generator's sockets: WebSocket frames, HTTP answers, event
// streams, and of Doorbell's messages what a measurement needs. It works on bytes that are there, keeps nothing, and never
// allocates for a message of the usual kind.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of WebSocket frames.
const (
	Text   = 1
	Binary = 2
	Close  = 8
	Ping   = 9
	Pong   = 10
)

// MaxFrame is the largest payload that is read, in bytes: `subscribed` of 1,000 feeds has about 170 KiB.
const MaxFrame = 1 << 20

// ErrFrame says that a server's frame is not one.
var ErrFrame = errors.New("a malformed frame")

// NextFrame gives the first whole frame of b and what follows it. n is 0 while the frame isn't whole.
func NextFrame(b []byte) (opcode byte, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	opcode = b[0] & 0x0f
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 { // signals are never fragmented; servers never mask
		return 0, nil, 0, fmt.Errorf("%w: it begins with % x", ErrFrame, b[:2])
	}
	size, head := int(b[1]), 2
	switch size {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0, nil
		}
		size, head = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, nil, 0, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long > MaxFrame {
			return 0, nil, 0, fmt.Errorf("%w of %d bytes", ErrFrame, long)
		}
		size, head = int(long), 10
	}
	if len(b) < head+size {
		return 0, nil, 0, nil
	}
	return opcode, b[head : head+size], head + size, nil
}

// AppendFrame appends a client's frame. Its mask is zero, which is a mask like any other and costs nothing.
func AppendFrame(b []byte, opcode byte, payload []byte) []byte {
	b = append(b, 0x80|opcode)
	switch {
	case len(payload) < 126:
		b = append(b, 0x80|byte(len(payload)))
	case len(payload) < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(payload)))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(len(payload)))
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, payload...)
}

// CloseCode is the code of a close frame's payload, 1005 when it has none.
func CloseCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(payload))
}
