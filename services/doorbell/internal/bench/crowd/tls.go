//go:build linux

package crowd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
)

// handshakeTimeout is for one TLS handshake, on a machine that makes thousands.
const handshakeTimeout = 30 * time.Second

// shaken is a TLS handshake that is over.
type shaken struct {
	k    *conn
	life *tls.Conn
	err  error
}

// shake makes the TLS handshake of a connection in a goroutine of its own: crypto/tls can't be left in the middle of one,
// while its records can be read as they come.
func (c *Crowd) shake(k *conn) {
	socket := &socket{fd: k.fd, waits: true}
	go func() {
		life := tls.Client(socket, &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // the server, on loopback, has a certificate that the bench has made
			MinVersion:         tls.VersionTLS12,
			NextProtos:         []string{"http/1.1"},
		})
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		err := life.HandshakeContext(ctx)
		socket.waits = false
		c.shaken <- shaken{k, life, err}
		c.poller.Wake()
	}()
}

// socket is a descriptor as crypto/tls wants it. Where it doesn't wait, "nothing there" is an error that crypto/tls hands on
// and survives (a net.Error that is temporary).
type socket struct {
	fd    int
	waits bool
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := epoll.Read(s.fd, b)
		if !errors.Is(err, epoll.ErrEmpty) {
			return n, err
		}
		if !s.waits {
			return 0, unix.EAGAIN
		}
		if err := s.wait(); err != nil {
			return 0, err
		}
	}
}

func (s *socket) wait() error {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, int(handshakeTimeout/time.Millisecond))
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("poll: %w", err)
	case n == 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (s *socket) Write(b []byte) (int, error) { return len(b), epoll.Write(s.fd, b) }

// Close does nothing: the descriptor is the crowd's.
func (*socket) Close() error                     { return nil }
func (*socket) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*socket) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*socket) SetDeadline(time.Time) error      { return nil }
func (*socket) SetReadDeadline(time.Time) error  { return nil }
func (*socket) SetWriteDeadline(time.Time) error { return nil }
