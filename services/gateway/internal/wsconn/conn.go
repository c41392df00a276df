package wsconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// Dialogue is what is spoken over a connection. Open and then Receive and Control are called one at a time, and so is Next; Close
// and Alarm at any time. An error that is not a [*wire.Close] is a mistake of ours.
type Dialogue interface {
	// Open is called once the socket is open, before anything is received. Next may be called before it.
	Open(ctx context.Context) error
	// Receive is called with each message in turn, which is valid during the call only; of a binary one it is told no more
	// than that. It waits while the peer is not to be read from.
	Receive(ctx context.Context, message []byte, binary bool) error
	// Control is called for each control frame of the peer's but the last, a close. It must not wait.
	Control() error
	// Next appends the next message for the peer, or nothing if there is none; Wake tells when to ask again.
	Next(b []byte) []byte
	// Alarm is called when the time given to [Conn.AlarmAt] has come.
	Alarm() error
	// Close makes Receive return and Next have nothing to say.
	Close()
	// String names it in logs.
	String() string
}

// Options is how connections behave. All of it is static.
type Options struct {
	Logger *slog.Logger
	// Context is that of all dialogues.
	Context context.Context
	Wheel   *wheel.Wheel
	Shards  *shard.Pool
	Outlet  outlet.Options
	// Subprotocols are those that are spoken. Of those that are offered the first that is known is; when there is none, the
	// first of these.
	Subprotocols []Subprotocol
	// Ended is called once nothing of the connection is left, with why. It must not block.
	Ended func(*Conn, wire.Close)
	// Panicked is told of each panic that has ended a connection; nil: nobody.
	Panicked func()
	Counts   *Counts
	// MaxFrame is the largest message from the peer, in bytes.
	MaxFrame int
	// PingEvery is the mean time between pings; each is up to 20 % earlier or later.
	PingEvery time.Duration
	// PongWait is how long after a ping a whole frame must have come.
	PongWait time.Duration
	// MessageWait is how long a message may take from its first byte to its last.
	MessageWait time.Duration
	// CloseWait is how long a socket is kept for the close handshake.
	CloseWait time.Duration
}

// Counts is what happens to all connections.
type Counts struct {
	PingsLate atomic.Uint64 // pings written later than they were due: by more than a second
	Silent    atomic.Uint64 // connections dropped because no sign of life came in time
}

// Conn is one WebSocket. Its exported methods are safe for concurrent use.
type Conn struct {
	// Static.
	ws  *websocket.Conn
	opt *Options

	out   outlet.Outlet
	timer wheel.Timer

	spoken uint8 // its index in Options.Subprotocols; static

	room int32 // bytes that what is left of the message under way may take; 0: none is under way. Owned by the reader

	place int32 // the owner's to guard

	mu sync.Mutex
	// Guarded by mu.
	dialogue Dialogue           // static after Start
	cancel   context.CancelFunc // of what the dialogue is waiting for; nil: nothing
	reason   *ending            // nil: it goes on
	quiet    bool               // it has ended, and the dialogue says nothing any more: the peer can be told
	pong     *string            // the payload to answer the peer's last ping with
	due      due
	parts    uint8 // reading, writing: what goes on after the end
	opened   bool  // the handshake has been answered

	// Owned by the outlet's owner.
	said farewell
}

// maxReason is the longest reason of a close frame, in bytes.
const maxReason = 123

// ending is why a connection ends.
type ending struct {
	wire.Close
	tell bool // the peer is told, with a close frame
}

// What goes on after the end: both are to be through before the socket is closed.
const (
	reading = 1 << iota
	writing
)

// init ties the library's connection to c.
func (c *Conn) init(ws *websocket.Conn) {
	c.ws, c.opened, c.parts = ws, true, reading|writing
	ws.SetPongHandler(func(string) error {
		c.alive()
		c.counted()
		return nil
	})
	ws.SetPingHandler(c.pinged)
	ws.SetCloseHandler(func(code int, _ string) error {
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		c.stop(&ending{Close: wire.Close{Code: code}, tell: true})
		return nil
	})
}

// pinged notes a ping of the peer's. Only the last one need be answered.
func (c *Conn) pinged(payload string) error {
	c.alive()
	c.mu.Lock()
	c.pong = &payload
	c.mu.Unlock()
	c.out.Wake()
	c.counted()
	return nil
}

// counted has the dialogue count a control frame.
func (c *Conn) counted() {
	if c.stopped() {
		return
	}
	c.guarded(func() {
		if err := c.dialogue.Control(); err != nil {
			c.refused(err)
		}
	})
}

// Outlet is the connection's write side.
func (c *Conn) Outlet() *outlet.Outlet { return &c.out }

// Place is where the owner of the connection keeps it, and the owner's to guard.
func (c *Conn) Place() *int32 { return &c.place }

// Spoken is the index of the subprotocol in [Options.Subprotocols].
func (c *Conn) Spoken() int { return int(c.spoken) }

// Start speaks d over the connection until either side ends it. It must be called once, and returns at once.
func (c *Conn) Start(d Dialogue) {
	c.mu.Lock()
	c.dialogue = d
	c.due.ping = c.nextPing()
	c.setTimerLocked()
	stopped := c.reason != nil
	c.mu.Unlock()
	if stopped {
		d.Close()
	}
	go c.open()
}

// Close ends the connection with a close frame. It does not wait; the first reason counts.
func (c *Conn) Close(reason wire.Close) { c.stop(&ending{Close: reason, tell: true}) }

// Abort ends the connection at once.
func (c *Conn) Abort() {
	c.stop(&ending{Close: wire.Close{Code: websocket.CloseAbnormalClosure, Reason: "aborted"}})
	_ = c.out.Conn().Close()
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
	c.mu.Unlock()

	end := time.Now()
	if e.tell {
		end = end.Add(c.opt.CloseWait)
	}
	c.out.EndBy(end)
	_ = c.out.Conn().SetReadDeadline(end)
	if d != nil {
		d.Close()
	}
	if cancel != nil {
		cancel()
	}
	c.opt.Wheel.Stop(&c.timer)
	c.mu.Lock()
	c.quiet = true
	c.mu.Unlock()
	c.out.Wake()
}

func (c *Conn) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason != nil
}

// through counts a part of the connection that has come to its end. The last one closes the socket.
func (c *Conn) through(part uint8) {
	c.mu.Lock()
	before := c.parts
	c.parts &^= part
	last := before != 0 && c.parts == 0
	c.mu.Unlock()
	if !last {
		return
	}
	if c.reason.Code == wire.CloseDead {
		c.reset()
	}
	_ = c.out.Conn().Close()
	if ctx := context.Background(); c.opt.Logger.Enabled(ctx, slog.LevelDebug) {
		c.log().Debug("disconnected", "code", c.reason.Code, "reason", c.reason.Reason)
	}
	c.opt.Ended(c, c.reason.Close)
}

// guarded keeps a panic from taking down more than this connection.
func (c *Conn) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.log().Error("panic in a connection", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if c.opt.Panicked != nil {
				c.opt.Panicked()
			}
			c.stop(&ending{Close: wire.Close{Code: wire.CloseInternal, Reason: "internal error"}, tell: true})
		}
	}()
	f()
}

// log says whose connection it is. It isn't kept: most have nothing to say.
func (c *Conn) log() *slog.Logger {
	c.mu.Lock()
	d := c.dialogue
	c.mu.Unlock()
	log := c.opt.Logger.With("remote", c.out.Conn().RemoteAddr().String())
	if d != nil {
		log = log.With("session", d.String())
	}
	return log
}

// failed puts an error of the socket into a reason.
func (c *Conn) failed(what string, err error) {
	e := &ending{Close: wire.Close{Code: websocket.CloseAbnormalClosure, Reason: what + ": " + err.Error()}}
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed): // its handler has given the reason, unless we did
		e.Code, e.Reason = closed.Code, closed.Text
	case errors.Is(err, outlet.ErrStalled):
		e.Code, e.Reason = wire.CloseDead, err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = "no sign of life"
	case strings.HasPrefix(err.Error(), "websocket: "):
		e.Code, e.tell = websocket.CloseProtocolError, true
		e.Reason = strings.TrimPrefix(err.Error(), "websocket: ")
		e.Reason = e.Reason[:min(len(e.Reason), maxReason)]
	}
	c.stop(e)
}

// reset makes the kernel forget what a dead peer will never take.
func (c *Conn) reset() {
	if tcp, ok := c.out.Conn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
