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

// read receives messages until the connection ends.
func (c *Conn) read(ctx context.Context, d Dialogue) {
	if err := d.Open(ctx); err != nil {
		c.refused(err)
		return
	}
	for !c.stopped() {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			c.failed("read", err)
			return
		}
		c.reading.began()
		if err := c.receive(ctx, d, kind == websocket.BinaryMessage, r); err != nil {
			return
		}
		c.reading.resumed()
	}
}

// receive hands one message to the dialogue. On an error the reason to end has been given.
func (c *Conn) receive(ctx context.Context, d Dialogue, binary bool, r io.Reader) error {
	buf := messages.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= keepBuffer {
			messages.Put(buf)
		}
	}()
	// One byte more than is allowed tells that it is too large; the rest is never held.
	n, err := buf.ReadFrom(io.LimitReader(r, int64(c.opt.MaxFrame)+1))
	switch {
	case err != nil:
		c.failed("read", err)
		return err
	case n > int64(c.opt.MaxFrame):
		err := &wire.Close{
			Code:   wire.CloseMalformed,
			Reason: fmt.Sprintf("the command is too large; allowed: up to %d bytes", c.opt.MaxFrame),
		}
		c.refused(err)
		return err
	}
	c.reading.whole()
	if err := d.Receive(ctx, buf.Bytes(), binary); err != nil {
		c.refused(err)
		return err
	}
	return nil
}

// refused ends the connection as the dialogue says.
func (c *Conn) refused(err error) {
	e := &ending{Close: wire.Close{Code: wire.CloseInternal, Reason: "internal error"}, tell: true}
	if reason := (*wire.Close)(nil); errors.As(err, &reason) {
		e.Close = *reason
	} else if !c.stopped() {
		c.log.Error("a dialogue failed", "err", err)
	}
	c.stop(e)
}

// discard reads on until the peer has closed, too: a socket that is closed with input unread may lose the close frame.
func (c *Conn) discard() {
	for {
		if _, _, err := c.ws.NextReader(); err != nil {
			c.failed("read", err)
			return
		}
	}
}

func (c *Conn) stopped() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}
