package wsconn

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Opcodes of frames.
const (
	text  = 1
	bin   = 2
	closE = 8
	ping  = 9
	pong  = 10
)

// script is a Dialogue made of functions; nil ones do nothing.
type script struct {
	open    func() error
	receive func(ctx context.Context, message []byte, binary bool) error
	control func() error
	next    func(b []byte) []byte
	alarm   func() error
	close   func()
}

func (s *script) Open(context.Context) error {
	if s.open == nil {
		return nil
	}
	return s.open()
}

func (s *script) Receive(ctx context.Context, message []byte, binary bool) error {
	if s.receive == nil {
		return nil
	}
	return s.receive(ctx, message, binary)
}

func (s *script) Control() error {
	if s.control == nil {
		return nil
	}
	return s.control()
}

func (s *script) Next(b []byte) []byte {
	if s.next == nil {
		return b
	}
	return s.next(b)
}

func (s *script) Alarm() error {
	if s.alarm == nil {
		return nil
	}
	return s.alarm()
}

func (s *script) String() string { return "script" }

func (s *script) Close() {
	if s.close != nil {
		s.close()
	}
}

// once says one message.
func once(message string) func([]byte) []byte {
	said := false
	return func(b []byte) []byte {
		if said {
			return b
		}
		said = true
		return append(b, message...)
	}
}

// peer is the client's end, frame by frame.
type peer struct {
	net.Conn
	t    *testing.T
	in   *bufio.Reader
	conn *Conn
	done chan wire.Close // what Serve returned
}

type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// connect serves d over a pipe, with the protocol's times. Pipes hold nothing: what isn't read isn't accepted.
func connect(t *testing.T, d Dialogue) *peer {
	t.Helper()
	return prepare(t, func(c *Conn) { c.Start(d) })
}

// prepare leaves it to start what becomes of the connection.
func prepare(t *testing.T, start func(*Conn)) *peer {
	t.Helper()
	turning, pool := wheel.New(250*time.Millisecond), shard.New(1)
	p := &peer{t: t, done: make(chan wire.Close, 1)}
	opt := &Options{
		Logger: slog.New(slog.DiscardHandler), Context: t.Context(), Wheel: turning, Shards: pool,
		Subprotocols: []Subprotocol{{Name: "test"}},
		Outlet:       outlet.Options{Stall: 40 * time.Second}, Counts: new(Counts), MaxFrame: 1000, PingEvery: 25 * time.Second, PongWait: 10 * time.Second,
		MessageWait: 30 * time.Second, CloseWait: 5 * time.Second,
		Ended: func(_ *Conn, reason wire.Close) { p.done <- reason },
	}
	here, there := net.Pipe()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	p.Conn, p.in = there, bufio.NewReaderSize(there, 16)
	go func() {
		c, err := Upgrade(hijackable{httptest.NewRecorder(), here}, r, opt)
		if err != nil {
			t.Error(err)
			return
		}
		p.conn = c
		start(c)
	}()
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = p.in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_ = there.Close()
		turning.Close()
		pool.Close()
	})
	synctest.Wait()
	return p
}

func frame(opcode byte, payload string) []byte {
	b := []byte{0x80 | opcode, 0x80}
	if len(payload) < 126 {
		b[1] |= byte(len(payload))
	} else {
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func (p *peer) send(opcode byte, payload string) error {
	_, err := p.Write(frame(opcode, payload))
	return err
}

// next reads a frame; io.EOF once the connection is gone.
func (p *peer) next() (opcode byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(p.in, long[:]); err != nil {
			return 0, "", err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	body := make([]byte, n)
	_, err = io.ReadFull(p.in, body)
	return head[0] & 0xf, string(body), err
}

func (p *peer) expect(opcode byte, payload string) {
	p.t.Helper()
	o, got, err := p.next()
	if err != nil || o != opcode || got != payload {
		p.t.Fatalf("got frame %d %q, %v; want %d %q", o, got, err, opcode, payload)
	}
}

func closing(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// drain reads all there is, and answers pings if told to. The times of the pings since now come when it has ended.
func (p *peer) drain(answer bool) <-chan []time.Duration {
	pings := make(chan []time.Duration, 1)
	began := time.Now()
	go func() {
		var at []time.Duration
		for {
			opcode, payload, err := p.next()
			if err != nil {
				pings <- at
				return
			}
			if opcode == ping {
				at = append(at, time.Since(began))
				if answer {
					_ = p.send(pong, payload)
				}
			}
		}
	}()
	return pings
}

// ended wants Serve to return with the code, between two times from now.
func (p *peer) ended(code int, from, to time.Duration) {
	p.t.Helper()
	began := time.Now()
	reason := <-p.done
	if took := time.Since(began); reason.Code != code || took < from || took > to {
		p.t.Errorf("ended with %d (%s) after %s; want %d, %s to %s", reason.Code, reason.Reason, took, code, from, to)
	}
}
