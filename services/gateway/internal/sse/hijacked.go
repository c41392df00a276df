package sse

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
)

// Answer makes the request a connection, which does nothing until it is started; header is what the answer has beside its own. The
// error says that the request can't be answered bit by bit.
func Answer(w http.ResponseWriter, r *http.Request, header http.Header, opt *Options) (*Conn, error) {
	control := http.NewResponseController(w)
	conn, _, err := control.Hijack()
	if errors.Is(err, http.ErrNotSupported) { // HTTP/2
		return stream(w, r, header, opt), nil
	}
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	conn = below(conn)                // a socket is written to as what it is
	_ = conn.SetDeadline(time.Time{}) // the server's
	limitSilence(conn, opt.Outlet.Stall)
	h := &hijacked{conn: conn}
	h.init(opt, h, header)
	h.out.Init(conn, opt.Shards.Pick(), h, &opt.Outlet)
	return &h.Conn, nil
}

// hijacked is a connection whose answer is written by hand.
type hijacked struct {
	Conn

	// Static.
	conn net.Conn

	out outlet.Outlet

	// Owned by the reader.
	in [16]byte
}

var (
	_ link          = (*hijacked)(nil)
	_ outlet.Source = (*hijacked)(nil)
)

func (h *hijacked) side() hub.Outlet { return &h.out }

func (h *hijacked) run(feeds []feed.Name) {
	go func() {
		h.begin(feeds)
		go h.read()
	}()
}

// maxMore is how much a peer may send after its request, all of it for nothing.
const maxMore = 64 << 10

// read waits for the peer to leave.
func (h *hijacked) read() {
	for more := 0; more < maxMore; {
		h.out.WaitReadable()
		n, err := h.conn.Read(h.in[:])
		if err != nil {
			h.failed("read", err)
			h.through(reading)
			return
		}
		more += n
	}
	h.failed("read", errors.New("the peer goes on sending"))
	h.through(reading)
}

// Frame is the outlet's.
func (h *hijacked) Frame(b []byte) []byte { return h.next(b, appendHead) }

// appendHead appends the head of an answer that ends with its connection.
func appendHead(b []byte, status int, header http.Header) []byte {
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	w := appender(b)
	_ = header.Write(&w) // it can't fail
	return append(w, "\r\n"...)
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// WriteFailed is the outlet's.
func (h *hijacked) WriteFailed(err error) {
	h.failed("write", err)
	h.through(writing)
}

func (h *hijacked) endBy(t time.Time) {
	h.out.EndBy(t)
	_ = h.conn.SetReadDeadline(t)
}

func (h *hijacked) close(dead bool) {
	if tcp := tcpOf(h.conn); tcp != nil && dead {
		_ = tcp.SetLinger(0) // the kernel forgets what the peer will never take
	}
	_ = h.conn.Close()
}

func (h *hijacked) remote() string { return h.conn.RemoteAddr().String() }

// tcpOf is the TCP connection below conn; nil: there is none.
func tcpOf(conn net.Conn) *net.TCPConn {
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	tcp, _ := below(conn).(*net.TCPConn)
	return tcp
}

// below is the connection that conn stands for, or conn.
func below(conn net.Conn) net.Conn {
	if whole, ok := conn.(interface{ Below() net.Conn }); ok {
		return whole.Below()
	}
	return conn
}
