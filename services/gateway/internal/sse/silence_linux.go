package sse

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, in ms.
const tcpUserTimeout = 18

// limitSilence has the kernel end the connection when bytes are under way to the peer and none are acknowledged for that long:
// who receives events says nothing, so one that has vanished would be written to until the buffers are full.
func limitSilence(conn net.Conn, limit time.Duration) {
	tcp := tcpOf(conn)
	if tcp == nil {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(limit.Milliseconds()))
	})
}
