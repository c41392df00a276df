//go:build linux

package crowd

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// happened reads what is there, or goes on with what was begun.
func (c *Crowd) happened(k *conn, e epoll.Event) {
	if k.state == connecting {
		if e.Writable {
			c.connected(k)
		}
		return
	}
	if k.muted { // nothing is watched but the end, which can't be left out
		c.ended(k, 1006, nil)
		return
	}
	if k.state == shaking || !e.Readable {
		return
	}
	for k.fd == e.FD && !k.muted {
		have := copy(c.buf, k.rest)
		n, err := k.read(c.buf[have:])
		now := epoll.Now()
		if errors.Is(err, epoll.ErrEmpty) || errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			c.lost(k, err)
			return
		}
		c.status.Bytes += n
		all := c.buf[:have+n]
		used, err := c.take(k, all, now)
		if k.fd != e.FD { // it has ended, and is perhaps another by now
			return
		}
		if err == nil && used == 0 && len(all) == len(c.buf) {
			err = fmt.Errorf("more than %d bytes that make no message", len(all))
		}
		if err != nil {
			c.lost(k, err)
			return
		}
		if k.rest = append(k.rest[:0], all[used:]...); len(k.rest) == 0 {
			k.rest = nil
		}
		if k.tls == nil { // what is left makes it readable again; crypto/tls, though, may have read ahead
			return
		}
	}
}

// lost is the end of a connection that nobody has announced.
func (c *Crowd) lost(k *conn, err error) {
	if k.state < live {
		c.failed(k, err)
		return
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	c.ended(k, 1006, err)
}

// take takes what is whole of what was read, and tells how much that was.
func (c *Crowd) take(k *conn, b []byte, now int64) (used int, err error) {
	if c.spec.Transport == LongPoll {
		return c.takeAnswers(k, b, now)
	}
	if k.state == asking {
		head, n, err := wire.NextHead(b)
		if err != nil || n == 0 {
			return n, err
		}
		used = n
		if !c.accepted(k, head) {
			return used, nil
		}
	}
	if c.spec.Transport == Events {
		n, err := c.takeEvents(k, b[used:], now)
		return used + n, err
	}
	for k.fd >= 0 && !k.muted {
		opcode, payload, n, err := wire.NextFrame(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		switch opcode {
		case wire.Text:
			c.heard(k, payload, now)
		case wire.Ping:
			if err := k.write(wire.AppendFrame(nil, wire.Pong, payload)); err != nil {
				return used, err
			}
		case wire.Close:
			c.ended(k, wire.CloseCode(payload), nil)
		}
	}
	return used, nil
}

// accepted goes on when the server has answered the handshake; false: it is over.
func (c *Crowd) accepted(k *conn, head wire.Head) bool {
	want := 101
	if c.spec.Transport == Events {
		want = 200
	}
	switch {
	case head.Status == 503:
		c.busy(k, head.Get("Retry-After"))
		return false
	case head.Status != want:
		c.failed(k, fmt.Errorf("the handshake was answered with %d", head.Status))
		return false
	}
	k.chunked = head.Chunked
	k.state = subscribing
	if !c.spec.Subscribe {
		c.joined(k)
		return true
	}
	if c.spec.Transport == WebSocket {
		if err := k.write(k.subscribe(&c.spec)); err != nil {
			c.failed(k, err)
			return false
		}
	}
	return true
}

// takeEvents reads an event stream. What isn't whole of its chunks is left, what isn't whole of a line is kept.
func (c *Crowd) takeEvents(k *conn, b []byte, now int64) (used int, err error) {
	c.text = append(c.text[:0], k.line...)
	done := false
	if k.chunked {
		used, done, err = k.chunks.Next(b, func(part []byte) { c.text = append(c.text, part...) })
	} else {
		c.text = append(c.text, b...)
		used = len(b)
	}
	rest := c.text
	for k.fd >= 0 && !k.muted {
		data, n := wire.NextLine(rest)
		if n == 0 {
			break
		}
		rest = rest[n:]
		if data != nil {
			c.heard(k, data, now)
		}
	}
	if k.line = append(k.line[:0], rest...); len(k.line) == 0 {
		k.line = nil
	}
	if done && k.fd >= 0 {
		return used, io.EOF
	}
	return used, err
}

// takeAnswers reads the answers to polls, and polls again.
func (c *Crowd) takeAnswers(k *conn, b []byte, now int64) (used int, err error) {
	head, _, n, err := wire.NextAnswer(b)
	if err != nil || n == 0 {
		return 0, err
	}
	if head.Status == 503 || head.Status == 429 {
		c.busy(k, head.Get("Retry-After"))
		return n, nil
	}
	if head.Status != 200 && head.Status != 304 {
		return n, fmt.Errorf("a poll was answered with %d", head.Status)
	}
	c.status.Frames++
	if cursor, ok := wire.ParseCursor(head.Get("Doorbell-Cursor")); ok {
		c.moved(k, cursor, now)
	}
	if head.Close {
		return n, io.EOF
	}
	return n, k.write(k.request(&c.spec))
}

// heard takes one message.
func (c *Crowd) heard(k *conn, b []byte, now int64) {
	c.status.Frames++
	m := wire.ParseMessage(b)
	if len(c.spec.Also) > 0 {
		m.Head, m.Known = wire.HeadOf(b, k.feed(&c.spec))
	}
	switch m.Kind {
	case wire.Changed:
		if m.Known {
			c.moved(k, m.Head, now)
		}
	case wire.Subscribed:
		if m.Known {
			c.moved(k, m.Head, now)
		} else {
			c.status.Unknown++
		}
		if k.state == subscribing {
			c.joined(k)
		}
	case wire.GoAway:
		c.status.GoAways++
		within := time.Duration(m.InMillis) * time.Millisecond
		c.status.Window = max(c.status.Window, within)
		if c.returns {
			c.leave(k, within)
		}
	case wire.Degraded:
		c.status.Degraded++
	case wire.Refused:
		c.problem(fmt.Errorf("refused: %.200s", b))
		if k.state == subscribing {
			c.failed(k, errors.New("the subscription was refused"))
		}
	case wire.Other:
	}
}

// joined is a connection that is told of changes from now on.
func (c *Crowd) joined(k *conn) {
	k.state, k.fails = live, 0
	c.dialing--
	c.status.Live++
	if c.spec.Mute {
		k.muted = true
		if err := c.poller.Modify(k.fd, false, false); err != nil {
			c.problem(err)
		}
	}
	c.settled()
}

// moved notes a head, if it is news: signals may come twice, or late.
func (c *Crowd) moved(k *conn, head wire.Cursor, now int64) {
	if k.head.Covers(head) {
		return
	}
	if c.waiting != nil && !k.muted && !k.head.Covers(c.waiting.command.Cursor) && head.Covers(c.waiting.command.Cursor) {
		c.waiting.left--
	}
	k.head, k.at = head, now
}
