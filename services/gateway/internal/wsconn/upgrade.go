package wsconn

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// Subprotocol is the one with JSON, also spoken when none that is known was offered.
const Subprotocol = "doorbell.v1.json"

// Buffers of the library. Commands are short, and a longer message is read past the buffer; frames are shared by all
// connections, which hold one only while they write.
const (
	readBuffer  = 512
	writeBuffer = 1 << 10
)

var writeBuffers sync.Pool

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

// Upgrade makes the request a connection. When it can't, it has answered with a problem and gives the error. Whether
// the request's origin may connect is the caller's business.
func Upgrade(w http.ResponseWriter, r *http.Request, opt *Options, log *slog.Logger) (*Conn, error) {
	hijacker := &progressHijacker{ResponseWriter: w, stall: opt.Stall}
	upgrader := websocket.Upgrader{
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &writeBuffers,
		Error:           refuse,
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	selected := make(http.Header)
	if slices.Contains(Offered(r), Subprotocol) {
		selected.Set("Sec-WebSocket-Protocol", Subprotocol)
	}
	ws, err := upgrader.Upgrade(hijacker, r, selected)
	if err != nil {
		return nil, err
	}
	return newConn(ws, hijacker.conn, opt, log), nil
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

// progressHijacker gives the library a connection whose writes know progress.
type progressHijacker struct {
	http.ResponseWriter
	stall time.Duration
	conn  *progressConn
}

func (h *progressHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetWriteDeadline(time.Time{}) // the server's
	h.conn = newProgressConn(conn, h.stall)
	return h.conn, rw, nil
}
