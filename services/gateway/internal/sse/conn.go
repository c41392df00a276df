package sse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// Dialogue is what is told over a connection. Open and then Follow are called once; Next by one at a time; Close and Alarm at any
// time. An error that is not a [*wire.Close] is a mistake of ours.
type Dialogue interface {
	// Open is called before anything is told.
	Open(ctx context.Context) error
	// Follow has the heads of the feeds told, and what becomes of them.
	Follow(ctx context.Context, feeds []feed.Name)
	// Next appends the next event, or nothing if there is none; Wake tells when to ask again.
	Next(b []byte) []byte
	// Alarm is called when the time given to [Conn.AlarmAt] has come.
	Alarm() error
	// Close makes Next have nothing to say.
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
	// Ended is called once nothing of the connection is left, with why. It must not block.
	Ended func(*Conn, wire.Close)
	// Panicked is told of each panic that has ended a connection; nil: nobody.
	Panicked func()
	// CommentEvery is the mean time between comments; each is up to 20 % earlier or later.
	CommentEvery time.Duration
	// CloseWait is how long a socket is kept to say why it ends.
	CloseWait time.Duration
}

// link is what an answer goes out on.
type link interface {
	side() hub.Outlet
	// run begins the dialogue, and has what there is to say written. It returns at once, or at the end.
	run(feeds []feed.Name)
	// endBy makes reading and writing fail at t.
	endBy(t time.Time)
	// close lets go of it; what waits for it fails. dead: the peer accepts nothing.
	close(dead bool)
	remote() string
}

// Conn is one answer. Its exported methods are safe for concurrent use.
type Conn struct {
	// Static.
	opt  *Options
	link link

	timer wheel.Timer

	place int32 // the owner's to guard

	mu sync.Mutex
	// Guarded by mu.
	dialogue Dialogue           // static after Start
	cancel   context.CancelFunc // of what the dialogue is waiting for; nil: nothing
	reason   *ending            // nil: it goes on
	quiet    bool               // it has ended, and the dialogue says nothing any more: the peer can be told
	due      due
	parts    uint8 // reading, writing: what goes on after the end
	opened   bool  // there is something to tell

	// Owned by whoever writes.
	said   said
	header http.Header // of the answer; gone once it is said
}

// ending is why a connection ends.
type ending struct {
	wire.Close
	tell bool // the peer is told
}

// lost is the code of a connection that ends without a word; it is never sent.
const lost = 1006

// What goes on after the end: both are to be through before the connection has ended.
const (
	reading = 1 << iota
	writing
)

func (c *Conn) init(opt *Options, l link, header http.Header) {
	c.opt, c.link, c.header, c.parts = opt, l, header, reading|writing
}

// Outlet is the connection's write side.
func (c *Conn) Outlet() hub.Outlet { return c.link.side() }

// Place is where the owner of the connection keeps it, and the owner's to guard.
func (c *Conn) Place() *int32 { return &c.place }

// Start tells d, which follows the feeds, until either side ends it. It must be called once; it returns at once where the
// connection was taken over, and else at the end.
func (c *Conn) Start(d Dialogue, feeds []feed.Name) {
	c.mu.Lock()
	c.dialogue = d
	stopped := c.reason != nil
	c.mu.Unlock()
	if stopped {
		d.Close()
	}
	c.link.run(feeds)
}

// begin weighs whoever asks, and follows.
func (c *Conn) begin(feeds []feed.Name) {
	c.guarded(func() {
		ctx, cancel := c.context()
		defer cancel()
		if err := c.dialogue.Open(ctx); err != nil {
			c.refused(err)
			return
		}
		c.dialogue.Follow(ctx, feeds)
		c.mu.Lock()
		c.opened = true
		c.due.comment = c.nextComment()
		c.setTimerLocked()
		c.mu.Unlock()
	})
	c.link.side().Wake()
}

// context is that of one call of the dialogue: it ends with the connection.
func (c *Conn) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.opt.Context)
	c.mu.Lock()
	stopped := c.reason != nil
	c.cancel = cancel
	c.mu.Unlock()
	if stopped {
		cancel()
	}
	return ctx, func() {
		cancel()
		c.mu.Lock()
		c.cancel = nil
		c.mu.Unlock()
	}
}

// Close ends the connection and tells the peer why. It does not wait; the first reason counts.
func (c *Conn) Close(reason wire.Close) { c.stop(&ending{Close: reason, tell: true}) }

// Abort ends the connection at once.
func (c *Conn) Abort() {
	c.stop(&ending{Close: wire.Close{Code: lost, Reason: "aborted"}})
	c.link.close(false)
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
	c.link.endBy(end)
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
	c.link.side().Wake()
}

// through counts a part of the connection that has come to its end. Nothing is left to wait for once all has been written.
func (c *Conn) through(part uint8) {
	c.mu.Lock()
	before := c.parts
	c.parts &^= part
	last := before != 0 && c.parts == 0
	reason := c.reason
	c.mu.Unlock()
	if part == writing {
		c.link.close(reason.Code == wire.CloseDead)
	}
	if !last {
		return
	}
	if ctx := context.Background(); c.opt.Logger.Enabled(ctx, slog.LevelDebug) {
		c.log().Debug("disconnected", "code", reason.Code, "reason", reason.Reason)
	}
	c.opt.Ended(c, reason.Close)
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
	return c.opt.Logger.With("session", c.dialogue.String(), "remote", c.link.remote())
}

// refused ends the connection as the dialogue says.
func (c *Conn) refused(err error) {
	e := &ending{Close: wire.Close{Code: wire.CloseInternal, Reason: "internal error"}, tell: true}
	if reason := (*wire.Close)(nil); errors.As(err, &reason) {
		e.Close = *reason
	} else if !c.stopped() {
		c.log().Error("a dialogue failed", "err", err)
	}
	c.stop(e)
}

func (c *Conn) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason != nil
}

// failed puts an error of the socket into a reason.
func (c *Conn) failed(what string, err error) {
	e := &ending{Close: wire.Close{Code: lost, Reason: what + ": " + err.Error()}}
	if errors.Is(err, outlet.ErrStalled) || errors.Is(err, syscall.ETIMEDOUT) {
		e.Code, e.Reason = wire.CloseDead, outlet.ErrStalled.Error()
	}
	c.stop(e)
}
