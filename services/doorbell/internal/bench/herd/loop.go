//go:build linux

package herd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// herdOptions are one crowd's.
type herdOptions struct {
	gateway, cache, feed string // host:port each, and a feed
	clients              int
	late                 int // one client in so many is delayed; 0: none
}

// herd is the clients and the loop that they live in. All of it is of the loop, but quit.
type herd struct {
	o      herdOptions
	poller *epoll.Poller
	timers epoll.Timers
	cache  netip.AddrPort
	byFD   map[int]owner
	root   *state
	all    []*client
	buf    []byte

	parsed      map[string]*answer // the latest of each path
	pulls       int
	bytes       int // of bodies
	signalBytes int
	statuses    map[int]int // answers other than 200
	troubles    []string
}

type owner struct {
	c *client
	l *line
}

func newHerd(o herdOptions) (*herd, error) {
	poller, err := epoll.NewPoller()
	if err != nil {
		return nil, err
	}
	h := &herd{
		o: o, poller: poller, byFD: map[int]owner{}, root: newState(), buf: make([]byte, 8<<20),
		parsed: map[string]*answer{}, statuses: map[int]int{},
	}
	if h.cache, err = netip.ParseAddrPort(o.cache); err != nil {
		return h, fmt.Errorf("the cache: %w", err)
	}
	for n := range o.clients {
		c := &client{h: h, state: h.root, delay: o.late > 0 && n%o.late == 0}
		c.socket.fd, c.pipe.fd = -1, -1
		h.all = append(h.all, c)
	}
	return h, nil
}

func (h *herd) close() {
	for fd := range h.byFD {
		epoll.Close(fd)
	}
	_ = h.poller.Close()
}

// run lives until done holds, which is asked about a hundred times a second.
func (h *herd) run(ctx context.Context, done func() bool) error {
	for !done() {
		if err := ctx.Err(); err != nil {
			return err
		}
		events, err := h.poller.Wait(h.timers.Rest(10 * time.Millisecond))
		if err != nil {
			return err
		}
		for _, e := range events {
			if at, ok := h.byFD[e.FD]; ok {
				if err := at.c.happened(at.l, e); err != nil {
					return err
				}
			}
		}
		h.timers.Run(epoll.Now())
	}
	return nil
}

// join opens the sockets, a few at a time, and returns when every client has what there is.
func (h *herd) join(ctx context.Context) error {
	gateway, err := netip.ParseAddrPort(h.o.gateway)
	if err != nil {
		return fmt.Errorf("the gateway: %w", err)
	}
	next := 0
	return h.run(ctx, func() bool {
		settled := 0
		for _, c := range h.all[:next] {
			if c.caughtUp() {
				settled++
			}
		}
		for next < len(h.all) && next-settled < 100 {
			c := h.all[next]
			next++
			handshake := "GET /v1/signals HTTP/1.1\r\nHost: " + h.o.gateway + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
			// The command may follow at once: the server reads it when it has answered.
			if err := h.send(c, &c.socket, gateway, []byte(handshake)); err != nil {
				h.trouble(err)
			}
		}
		return settled == len(h.all)
	})
}

func (c *client) caughtUp() bool {
	return c.want != (wire.Cursor{}) && c.at.Covers(c.want) && !c.pulling
}

// send writes on a line, which is dialled when there is none.
func (h *herd) send(c *client, l *line, to netip.AddrPort, b []byte) error {
	if l.fd >= 0 {
		if !l.ready {
			l.out = append(l.out, b...)
			return nil
		}
		return epoll.Write(l.fd, b)
	}
	fd, err := dial(to, len(h.byFD))
	if err != nil {
		return err
	}
	if err := h.poller.Add(fd, false, true); err != nil {
		epoll.Close(fd)
		return err
	}
	*l = line{fd: fd, out: b}
	h.byFD[fd] = owner{c, l}
	return nil
}

func (h *herd) hangUp(l *line) {
	if l.fd >= 0 {
		delete(h.byFD, l.fd)
		epoll.Close(l.fd)
	}
	*l = line{fd: -1}
}

// signals reads what came on a WebSocket.
func (h *herd) signals(c *client, b []byte) (used int, err error) {
	if bytes.HasPrefix(b, []byte("HTTP/1.1")) {
		head, n, err := wire.NextHead(b)
		if err != nil || n == 0 {
			return n, err
		}
		if head.Status != 101 {
			return n, fmt.Errorf("a handshake was answered with %d", head.Status)
		}
		used = n
		command := wire.AppendFrame(nil, wire.Text, []byte(`{"subscribe":{"`+h.o.feed+`":""}}`))
		if err := epoll.Write(c.socket.fd, command); err != nil {
			return used, err
		}
	}
	for {
		opcode, payload, n, err := wire.NextFrame(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		switch opcode {
		case wire.Text:
			switch m := wire.ParseMessage(payload); m.Kind {
			case wire.Changed, wire.Subscribed:
				if m.Known {
					c.told(m.Head, time.Duration(m.Spread)*time.Millisecond, m.Kind == wire.Subscribed)
				}
			case wire.Refused:
				return used, fmt.Errorf("refused: %.200s", payload)
			case wire.Other, wire.GoAway, wire.Degraded:
			}
		case wire.Ping:
			if err := epoll.Write(c.socket.fd, wire.AppendFrame(nil, wire.Pong, payload)); err != nil {
				return used, err
			}
		case wire.Close:
			return used, fmt.Errorf("a WebSocket was closed with %d", wire.CloseCode(payload))
		}
	}
}

// parse reads a body, once for all who get the same bytes from the same path.
func (h *herd) parse(path string, body []byte) (*answer, error) {
	if a := h.parsed[path]; a != nil && bytes.Equal(a.body, body) {
		return a, nil
	}
	a, err := parseAnswer(body, !strings.Contains(path, "/changes"))
	if err == nil {
		h.parsed[path] = a
	}
	return a, err
}

func (h *herd) trouble(err error) {
	if len(h.troubles) < 5 {
		h.troubles = append(h.troubles, err.Error())
	}
}
