package wsconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// messages lends buffers to whoever is receiving a message.
var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keepBuffer is the largest buffer that is kept for the next message.
const keepBuffer = 8 << 10

// framing is how much the frames of one message may take beside what is in them, in bytes: a command of the largest size may come in
// a thousand pieces. The library skips empty ones without a word, however many there are.
const framing = 16 << 10

// open begins the dialogue, and then reading.
func (c *Conn) open() {
	c.guarded(func() {
		ctx, cancel := c.context()
		defer cancel()
		if err := c.dialogue.Open(ctx); err != nil {
			c.refused(err)
		}
	})
	c.out.Wake()
	go c.read()
}

// read waits for the head of the next message, with little on its stack; control frames are dealt with on the way. After the
// end it reads on until the peer has closed, too: a socket that is closed with input unread may lose the close frame.
func (c *Conn) read() {
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			c.failed("read", err)
			c.through(reading)
			return
		}
		if !c.stopped() {
			c.room = int32(c.opt.MaxFrame) + framing
			c.began()
			go c.receive(kind == websocket.BinaryMessage, r)
			return
		}
	}
}

// receive hands one message to the dialogue, and has the next one read.
func (c *Conn) receive(binary bool, r io.Reader) {
	c.guarded(func() {
		buf := messages.Get().(*bytes.Buffer) //nolint:forcetypeassert // the pool has nothing else
		buf.Reset()
		defer func() {
			if buf.Cap() <= keepBuffer {
				messages.Put(buf)
			}
		}()
		if err := c.whatCame(buf, r); err != nil {
			return
		}
		c.whole()
		ctx, cancel := c.context()
		defer cancel()
		if err := c.dialogue.Receive(ctx, buf.Bytes(), binary); err != nil {
			c.refused(err)
		}
	})
	c.resumed()
	go c.read()
}

// whatCame reads a message. On an error the reason to end has been given.
func (c *Conn) whatCame(buf *bytes.Buffer, r io.Reader) error {
	// One byte more than is allowed tells that it is too large; the rest is never held.
	n, err := buf.ReadFrom(io.LimitReader(r, int64(c.opt.MaxFrame)+1))
	c.room = 0
	switch {
	case err != nil:
		c.failed("read", err)
	case n > int64(c.opt.MaxFrame):
		err = &wire.Close{
			Code:   wire.CloseMalformed,
			Reason: fmt.Sprintf("the command is too large; allowed: up to %d bytes", c.opt.MaxFrame),
		}
		c.refused(err)
	}
	return err
}

// took counts what has been read. A message that takes too much ends the connection; it is read on, as after any end.
func (c *Conn) took(n int) {
	if c.room == 0 {
		return
	}
	if c.room = max(0, c.room-int32(n)); c.room == 0 {
		c.refused(&wire.Close{Code: wire.CloseMalformed, Reason: "the command comes in too many pieces"})
	}
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
