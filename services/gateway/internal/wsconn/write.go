package wsconn

import (
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// frames lends a buffer for as long as a message is being written.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// write sends what there is to say, and pings, until the connection ends.
func (c *Conn) write() {
	ping := time.NewTimer(c.nextPing())
	defer ping.Stop()
	for {
		// Between two frames, so that neither waits behind a stream of signals.
		select {
		case <-c.stopping:
			return
		case <-ping.C:
			if !c.writePing() {
				return
			}
			ping.Reset(c.nextPing())
		default:
		}
		said, ok := c.writeNext()
		switch {
		case !ok:
			return
		case said:
			continue
		}
		select {
		case <-c.stopping:
			return
		case <-ping.C:
			if !c.writePing() {
				return
			}
			ping.Reset(c.nextPing())
		case <-c.wake:
		}
	}
}

// writeNext sends one frame, if there is one to send.
func (c *Conn) writeNext() (said, ok bool) {
	c.mu.Lock()
	pong := c.pong
	c.pong = nil
	c.mu.Unlock()
	if pong != nil {
		return true, c.control(websocket.PongMessage, []byte(*pong))
	}
	buf := frames.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= keepBuffer {
			frames.Put(buf)
		}
	}()
	*buf = c.dialogue.Next((*buf)[:0])
	if len(*buf) == 0 {
		return false, true
	}
	if err := c.ws.WriteMessage(websocket.TextMessage, *buf); err != nil {
		c.failed("write", err)
		return false, false
	}
	return true, true
}

func (c *Conn) writePing() bool {
	before := c.reading.seen()
	if !c.control(websocket.PingMessage, nil) {
		return false
	}
	c.reading.pinged(before)
	return true
}

// farewell tells the peer why the connection ends, unless it is past telling.
func (c *Conn) farewell() {
	<-c.stopping
	if c.reason.tell {
		_ = c.control(websocket.CloseMessage, websocket.FormatCloseMessage(c.reason.Code, c.reason.Reason))
	}
}

func (c *Conn) control(kind int, payload []byte) bool {
	if err := c.ws.WriteControl(kind, payload, time.Time{}); err != nil {
		c.failed("write", err)
		return false
	}
	return true
}
