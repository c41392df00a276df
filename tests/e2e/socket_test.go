package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// Frames as RFC 6455 numbers them.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// rawSocket is a WebSocket without a library, so that it can be wrong in every way.
type rawSocket struct {
	*testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dialTCP connects. The connection ends with the test.
func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(doorbelltest.Patience))
	return conn
}

const handshake = "GET /v1/signals HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// dialSocket opens a WebSocket and reads its hello.
func dialSocket(t *testing.T, addr string) *rawSocket {
	t.Helper()
	conn := dialTCP(t, addr)
	s := &rawSocket{t, conn, bufio.NewReader(conn)}
	s.write([]byte(handshake))
	res, err := http.ReadResponse(s.r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the handshake: %v, %v", res, err)
	}
	s.expect("hello")
	return s
}

// write sends bytes as they are. That the server has closed already shows when reading.
func (s *rawSocket) write(b []byte) { _, _ = s.conn.Write(b) }

func (s *rawSocket) send(text string) { s.write(frame(0x80|opText, text)) }

// frame makes a client's frame: masked, with a mask that changes nothing.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// read gives the next frame.
func (s *rawSocket) read() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1] & 0x7f)
	if n == 126 {
		var length [2]byte
		if _, err := io.ReadFull(s.r, length[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(length[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.r, payload)
	return head[0] & 0x0f, payload, err
}

// expect reads until a message with that member comes, and gives the member.
func (s *rawSocket) expect(member string) json.RawMessage {
	s.Helper()
	for {
		op, payload, err := s.read()
		if err != nil {
			s.Fatalf("waiting for %s: %v", member, err)
		}
		if op == opPing {
			s.write(frame(0x80|opPong, string(payload)))
		}
		var message map[string]json.RawMessage
		if op == opClose || (op == opText && json.Unmarshal(payload, &message) != nil) {
			s.Fatalf("waiting for %s: frame %d %q", member, op, payload)
		}
		if found, ok := message[member]; ok {
			return found
		}
	}
}

// expectClose reads until the connection ends, and gives the close frame's code and reason; 0 when there was none.
func (s *rawSocket) expectClose() (code int, reason string) {
	s.Helper()
	for {
		op, payload, err := s.read()
		switch {
		case err != nil:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.Fatal("the connection is still open")
			}
			return 0, err.Error()
		case op == opClose && len(payload) >= 2:
			return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
	}
}

// canary is somebody who does everything right beside others who don't.
type canary struct {
	*doorbelltest.Server

	feed   string
	socket *rawSocket
}

func newCanary(t *testing.T, server *doorbelltest.Server, feed string) *canary {
	t.Helper()
	c := &canary{server, feed, dialSocket(t, server.Addr())}
	c.socket.send(`{"subscribe":{"` + feed + `":""}}`)
	c.socket.expect("subscribed")
	return c
}

// sings checks that the socket that is open is answered, that the feed is where it was, and that it can be read.
func (c *canary) sings(t *testing.T, head string) {
	t.Helper()
	_ = c.socket.conn.SetDeadline(time.Now().Add(doorbelltest.Patience))
	c.socket.send(`{"ping":7}`)
	if pong := c.socket.expect("pong"); string(pong) != "7" {
		t.Errorf("the canary's ping got %s", pong)
	}
	state, err := c.Client().Load(t.Context(), c.feed)
	if err != nil || state.Cursor != head || c.Head(c.feed) != head {
		t.Errorf("the feed was at %s, and is at %+v, %v", head, state, err)
	}
}

// hears checks that a write rings the socket that is open.
func (c *canary) hears(t *testing.T, n int) time.Duration {
	t.Helper()
	_ = c.socket.conn.SetDeadline(time.Now().Add(doorbelltest.Patience))
	began := time.Now()
	written, err := c.Client().Put(t.Context(), c.feed, "canary", put("", n).Value)
	if err != nil {
		t.Fatal(err)
	}
	for heard := ""; !strings.Contains(heard, written.Cursor); {
		heard = string(c.socket.expect("changed"))
	}
	return time.Since(began)
}
