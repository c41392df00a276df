//go:build linux

package epoll

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Dial begins a connection without waiting for it: it stands when the descriptor is writable and [Connected] says so. A valid
// source is the address that it comes from, so that more than the ports of one address can be used. receive bounds the
// socket's receive buffer in bytes (the kernel doubles it); 0: the system's default.
func Dial(target netip.AddrPort, source netip.Addr, receive int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
			fd = -1
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fd, fmt.Errorf("TCP_NODELAY: %w", err)
	}
	if receive > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive); err != nil {
			return fd, fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	if source.IsValid() {
		// Without this, bind would take a port that no other connection of that address may have, whatever its target.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fd, fmt.Errorf("IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return fd, fmt.Errorf("bind to %s: %w", source, err)
		}
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: target.Addr().As4(), Port: int(target.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fd, fmt.Errorf("connect to %s: %w", target, err)
	}
	return fd, nil
}

// Connected says how a connection that was begun has turned out.
func Connected(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("SO_ERROR: %w", err)
	}
	if code != 0 {
		return fmt.Errorf("connect: %w", unix.Errno(code))
	}
	return nil
}

// ErrEmpty says that there is nothing to read now.
var ErrEmpty = errors.New("nothing to read")

// Read reads what is there: ErrEmpty when there is nothing, io.EOF at the end.
func Read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, ErrEmpty
		case err != nil:
			return 0, fmt.Errorf("read: %w", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes all of b or fails: what a client says is small, and a server that doesn't take it is broken.
func Write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("write: %w", err)
		}
		b = b[max(n, 0):]
	}
	return nil
}

// Close closes a descriptor.
func Close(fd int) { _ = unix.Close(fd) }
