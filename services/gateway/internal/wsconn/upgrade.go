package wsconn

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// Subprotocol is one that is spoken here.
type Subprotocol struct {
	Name   string
	Binary bool // its frames are
}

// readBuffer is the smallest that the library knows, 125 bytes: commands are short, and a longer message is read past it.
const readBuffer = 1

// IsUpgrade tells whether the request asks for a WebSocket.
func IsUpgrade(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// Offered lists the subprotocols that the client offers.
func Offered(r *http.Request) []string {
	var offered []string
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			offered = append(offered, strings.TrimSpace(name))
		}
	}
	return offered
}

// Upgrade makes the request a connection, which does nothing until it is started. When it can't, it has answered with a
// problem and gives the error. Whether the request's origin may connect is the caller's business.
func Upgrade(w http.ResponseWriter, r *http.Request, opt *Options) (*Conn, error) {
	hijacker := &hijacker{ResponseWriter: w, c: &Conn{opt: opt}}
	upgrader := websocket.Upgrader{
		ReadBufferSize:  readBuffer,
		WriteBufferPool: noBuffers{},
		Error:           refuse,
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	selected := make(http.Header)
	for _, name := range Offered(r) { // the client's first choice is first
		if i := slices.IndexFunc(opt.Subprotocols, func(s Subprotocol) bool { return s.Name == name }); i >= 0 {
			hijacker.c.spoken = uint8(i)
			selected.Set("Sec-WebSocket-Protocol", name)
			break
		}
	}
	ws, err := upgrader.Upgrade(hijacker, r, selected)
	if err != nil {
		return nil, err
	}
	hijacker.c.init(ws)
	return hijacker.c, nil
}

// refuse answers a handshake that is none.
func refuse(w http.ResponseWriter, _ *http.Request, status int, reason error) {
	if status == http.StatusInternalServerError {
		problem.Write(w, problem.New(status, "internal", "the connection can't be upgraded"))
		return
	}
	w.Header().Set("Sec-WebSocket-Version", "13")
	problem.Write(w, problem.New(status, "bad_handshake", reason.Error()))
}

// hijacker gives the library a socket whose writing is the outlet's.
type hijacker struct {
	http.ResponseWriter
	c *Conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if whole, ok := conn.(interface{ Below() net.Conn }); ok { // a socket is written to as what it is
		conn = whole.Below()
	}
	_ = conn.SetDeadline(time.Time{}) // the server's
	h.c.out.Init(conn, h.c.opt.Shards.Pick(), h.c, &h.c.opt.Outlet)
	return (*socket)(h.c), rw, nil
}

// socket is a Conn as the library sees it.
type socket Conn

// Write writes the answer to the handshake. Later the library would only tell the peer what is wrong with its frames; we do
// that ourselves, since frames must not mix.
func (s *socket) Write(p []byte) (int, error) {
	if s.opened {
		return len(p), nil
	}
	return s.out.Write(p)
}

// Read waits with as little stack as can be: an idle connection's reader is in here.
func (s *socket) Read(p []byte) (int, error) {
	s.out.WaitReadable()
	n, err := s.out.Conn().Read(p)
	(*Conn)(s).took(n)
	return n, err
}

func (s *socket) Close() error                       { return s.out.Conn().Close() }
func (s *socket) LocalAddr() net.Addr                { return s.out.Conn().LocalAddr() }
func (s *socket) RemoteAddr() net.Addr               { return s.out.Conn().RemoteAddr() }
func (s *socket) SetDeadline(t time.Time) error      { return s.out.Conn().SetReadDeadline(t) }
func (s *socket) SetReadDeadline(t time.Time) error  { return s.out.Conn().SetReadDeadline(t) }
func (s *socket) SetWriteDeadline(t time.Time) error { return nil }

// noBuffers keeps no buffers for the library's writes, of which there are none that matter.
type noBuffers struct{}

func (noBuffers) Get() any { return nil }
func (noBuffers) Put(any)  {}
