package wsconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// Dialogue is what is spoken over a connection. Open and then Receive are called by its reader, Next by its writer,
// Close by either or both. An error that is not a [*wire.Close] is a mistake of ours.
type Dialogue interface {
	// Open is called once the socket is open, before anything is received. Next may be called before it.
	Open(ctx context.Context) error
	// Receive is called with each message in turn, which is valid during the call only; of a binary one it is told no more
	// than that. It waits while the peer is not to be read from.
	Receive(ctx context.Context, message []byte, binary bool) error
	// Next appends the next message for the peer, or nothing if there is none; Wake tells when to ask again.
	Next(b []byte) []byte
	// Close makes Receive return and Next have nothing to say.
	Close()
}

// Options is how connections behave. All of it is static.
type Options struct {
	Logger *slog.Logger
	// MaxFrame is the largest message from the peer, in bytes.
	MaxFrame int
	// PingEvery is the mean time between pings; each is up to 20 % earlier or later.
	PingEvery time.Duration
	// PongWait is how long after a ping a whole frame must have come.
	PongWait time.Duration
	// MessageWait is how long a message may take from its first byte to its last.
	MessageWait time.Duration
	// Stall is how long a socket may accept no byte.
	Stall time.Duration
	// CloseWait is how long a socket is kept for the close handshake.
	CloseWait time.Duration
}

// Conn is one WebSocket. Its exported methods are safe for concurrent use.
type Conn struct {
	// Static.
	ws  *websocket.Conn
	raw *progressConn
	opt *Options
	log *slog.Logger

	wake     chan struct{} // of one: there may be something to write
	stopping chan struct{} // closed once reason is set
	reading  deadlines

	mu sync.Mutex
	// Guarded by mu.
	dialogue Dialogue
	cancel   context.CancelFunc // of what the dialogue is waiting for
	reason   *ending
	pong     *string // the payload to answer the peer's last ping with
}

// ending is why a connection ends.
type ending struct {
	wire.Close
	tell bool // the peer is told, with a close frame
}

func newConn(ws *websocket.Conn, raw *progressConn, opt *Options, log *slog.Logger) *Conn {
	c := &Conn{
		ws: ws, raw: raw, opt: opt, log: log,
		wake: make(chan struct{}, 1), stopping: make(chan struct{}),
		reading: deadlines{conn: raw, opt: opt},
	}
	ws.SetPongHandler(func(string) error {
		c.reading.alive()
		return nil
	})
	ws.SetPingHandler(func(payload string) error {
		c.reading.alive()
		c.mu.Lock()
		c.pong = &payload // only the last one need be answered
		c.mu.Unlock()
		c.Wake()
		return nil
	})
	ws.SetCloseHandler(func(code int, _ string) error {
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		c.stop(&ending{Close: wire.Close{Code: code}, tell: true})
		return nil
	})
	return c
}

// Wake makes the writer ask the Dialogue for more. It does not block.
func (c *Conn) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close ends the connection with a close frame. It does not wait; the first reason counts.
func (c *Conn) Close(reason wire.Close) { c.stop(&ending{Close: reason, tell: true}) }

// Abort ends the connection at once.
func (c *Conn) Abort() {
	c.stop(&ending{Close: wire.Close{Code: websocket.CloseAbnormalClosure, Reason: "aborted"}})
	_ = c.raw.Close()
}

// Serve speaks d over the connection until either side ends it, and tells why. Nothing of the connection is left
// when it returns. It must be called once.
func (c *Conn) Serve(ctx context.Context, d Dialogue) wire.Close {
	defer context.AfterFunc(ctx, c.Abort)()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.dialogue, c.cancel = d, cancel
	stopped := c.reason != nil
	c.mu.Unlock()
	if stopped {
		d.Close()
		cancel()
	}

	var writer sync.WaitGroup
	writer.Go(func() {
		c.guarded(c.write)
		c.guarded(c.farewell)
	})
	c.guarded(func() { c.read(ctx, d) })
	c.guarded(c.discard)
	writer.Wait()
	if c.reason.Code == wire.CloseDead {
		c.reset()
	}
	_ = c.raw.Close()
	return c.reason.Close
}

// stop gives the reason to end. The first one counts; the socket has CloseWait left from then on.
func (c *Conn) stop(e *ending) {
	c.mu.Lock()
	if c.reason != nil {
		c.mu.Unlock()
		return
	}
	c.reason = e
	d, cancel := c.dialogue, c.cancel
	close(c.stopping)
	c.mu.Unlock()

	end := time.Now()
	if e.tell {
		end = end.Add(c.opt.CloseWait)
	}
	c.raw.endBy(end)
	c.reading.endBy(end)
	if d != nil {
		d.Close()
		cancel()
	}
}

// guarded keeps a panic from taking down more than this connection.
func (c *Conn) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in a connection", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.stop(&ending{Close: wire.Close{Code: wire.CloseInternal, Reason: "internal error"}, tell: true})
		}
	}()
	f()
}

// failed puts an error of the socket into a reason.
func (c *Conn) failed(what string, err error) {
	e := &ending{Close: wire.Close{Code: websocket.CloseAbnormalClosure, Reason: what + ": " + err.Error()}}
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed): // its handler has given the reason, unless we did
		e.Code, e.Reason = closed.Code, closed.Text
	case errors.Is(err, errStalled):
		e.Code, e.Reason = wire.CloseDead, err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = "no sign of life"
	case strings.HasPrefix(err.Error(), "websocket: "): // the library has told the peer itself
		e.Code, e.tell = websocket.CloseProtocolError, true
	}
	c.stop(e)
}

// reset makes the kernel forget what a dead peer will never take.
func (c *Conn) reset() {
	if tcp, ok := c.raw.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// nextPing is when to ping, spread so that connections that came together don't ping together.
func (c *Conn) nextPing() time.Duration {
	return time.Duration(float64(c.opt.PingEvery) * (0.8 + 0.4*rand.Float64()))
}
