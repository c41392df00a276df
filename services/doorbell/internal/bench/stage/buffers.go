//go:build linux

package stage

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ShrinkSendBuffers gives the sockets that the server will accept from now on send buffers of so many bytes (the kernel
// doubles it). It does so from outside, on the server's listening socket, whose options they inherit: the server needs
// no setting for it, and what it does is what it does with any other socket.
func (s *Server) ShrinkSendBuffers(bytes int) error {
	fd, err := s.listener()
	if err != nil {
		return fmt.Errorf("find the listening socket of the %s: %w", s.Role, err)
	}
	process, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(process)
	ours, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return fmt.Errorf("pidfd_getfd (it takes the right to trace the process): %w", err)
	}
	defer unix.Close(ours)
	if err := unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, bytes); err != nil {
		return fmt.Errorf("SO_SNDBUF: %w", err)
	}
	return nil
}

var listening = regexp.MustCompile(`(?m)^ *\d+: [0-9A-F]{8}:([0-9A-F]{4}) [0-9A-F]{8}:0000 0A (?:\S+ +){5}(\d+)`)

// listener is the number, in the server, of the descriptor that it listens with.
func (s *Server) listener() (int, error) {
	at, err := netip.ParseAddrPort(s.Addr)
	if err != nil {
		return 0, err
	}
	sockets, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	link := ""
	for _, found := range listening.FindAllStringSubmatch(string(sockets), -1) {
		if port, err := strconv.ParseUint(found[1], 16, 16); err == nil && uint16(port) == at.Port() {
			link = "socket:[" + found[2] + "]"
		}
	}
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.PID))
	if err != nil {
		return 0, err
	}
	for _, path := range descriptors {
		if to, err := os.Readlink(path); err == nil && link != "" && to == link {
			return strconv.Atoi(strings.TrimPrefix(path, filepath.Dir(path)+"/"))
		}
	}
	return 0, errors.New("there is none")
}
