//go:build linux

package crowd

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// state is how far a connection is.
type state uint8

const (
	idle       state = iota // no socket: it waits to be dialled
	connecting              // the socket isn't connected yet
	shaking                 // hands, for TLS
	asking                  // the request has been sent
	subscribing
	live
)

// conn is one connection, or the place of one. It is of the loop alone.
type conn struct {
	number int
	fd     int // -1: none
	state  state
	muted  bool
	target int  // of the spec's, modulo their number
	fails  int  // in a row
	leaves bool // it will reconnect at a moment that is settled

	head wire.Cursor
	at   int64 // when head came

	rest    []byte // read, but not whole yet; nil most of the time
	line    []byte // of an event stream, the line that isn't whole yet
	chunked bool
	chunks  wire.Chunks
	tls     *tls.Conn // nil: plain
}

func (k *conn) feed(s *Spec) string {
	return strings.Replace(s.Feed, "{n}", strconv.Itoa(k.number), 1)
}

// source is the address that the connection comes from; invalid: any.
func (k *conn) source(s *Spec) netip.Addr {
	addr, err := netip.ParseAddr(s.Source)
	if err != nil || !addr.Is4() {
		return netip.Addr{}
	}
	b := addr.As4()
	n := int(b[2])<<8 + int(b[3]) + k.number%max(s.Sources, 1)
	b[2], b[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(b)
}

// request is the handshake, or the poll.
func (k *conn) request(s *Spec) []byte {
	path := strings.NewReplacer("{feed}", k.feed(s), "{cursor}", k.head.String()).Replace(s.Path)
	b := append([]byte("GET "), path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, s.Targets[k.target%len(s.Targets)]...)
	switch s.Transport {
	case WebSocket:
		b = append(b, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="...)
	case Events:
		b = append(b, "\r\nAccept: text/event-stream"...)
	}
	return append(b, "\r\n\r\n"...)
}

// subscribe is the command, from where the connection is.
func (k *conn) subscribe(s *Spec) []byte {
	command := fmt.Appendf(nil, `{"subscribe":{"%s":"%s"`, k.feed(s), k.head)
	for _, feed := range s.Also {
		command = fmt.Appendf(command, `,"%s":""`, feed)
	}
	return wire.AppendFrame(nil, wire.Text, append(command, "}}"...))
}

func (k *conn) read(b []byte) (int, error) {
	if k.tls != nil {
		return k.tls.Read(b)
	}
	return epoll.Read(k.fd, b)
}

func (k *conn) write(b []byte) error {
	if k.tls != nil {
		_, err := k.tls.Write(b)
		return err
	}
	return epoll.Write(k.fd, b)
}

// forget closes the socket, if there is one, and all that belongs to it but the cursor.
func (k *conn) forget() {
	if k.fd >= 0 {
		epoll.Close(k.fd)
	}
	*k = conn{number: k.number, fd: -1, target: k.target, fails: k.fails, leaves: k.leaves, head: k.head, at: k.at}
}
