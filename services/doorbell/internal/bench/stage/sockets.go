//go:build linux

package stage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// SendQueue is what a socket holds that its peer hasn't taken, as the kernel counts it, in bytes.
type SendQueue struct {
	Queued int // with what the kernel itself needs to hold it
	Limit  int
}

// Full tells whether the kernel takes nothing more to send.
func (q SendQueue) Full() bool { return q.Queued >= q.Limit }

// Of the kernel's sock_diag interface (linux/inet_diag.h), what is used here.
const (
	byFamily       = 20 // SOCK_DIAG_BY_FAMILY
	requestSize    = 56 // struct inet_diag_req_v2
	messageSize    = 72 // struct inet_diag_msg
	skMemInfo      = 7  // INET_DIAG_SKMEMINFO
	memSendLimit   = 3  // SK_MEMINFO_SNDBUF, an index
	memSendQueued  = 5  // SK_MEMINFO_WMEM_QUEUED
	established    = 1  // TCP_ESTABLISHED
	peerAddress    = 24 // offset of the peer's address in inet_diag_msg
	netlinkHeader  = 16
	attributeAlign = 4
)

// SendQueues gives those of the machine's established TCP sockets whose peer has the address.
func SendQueues(peer netip.Addr) ([]SendQueue, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	request := make([]byte, netlinkHeader+requestSize)
	native := binary.NativeEndian
	native.PutUint32(request, uint32(len(request)))
	native.PutUint16(request[4:], byFamily)
	native.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := request[netlinkHeader:]
	body[0], body[1] = unix.AF_INET, unix.IPPROTO_TCP
	body[2] = 1 << (skMemInfo - 1)
	native.PutUint32(body[4:], 1<<established)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	var found []SendQueue
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		done, err := eachMessage(buf[:n], func(m []byte) {
			if len(m) < messageSize || netip.AddrFrom4([4]byte(m[peerAddress:peerAddress+4])) != peer {
				return
			}
			if q, ok := sendQueue(m[messageSize:]); ok {
				found = append(found, q)
			}
		})
		if done || err != nil {
			return found, err
		}
	}
}

// eachMessage goes through the netlink messages of one read; done: the last was among them.
func eachMessage(b []byte, do func([]byte)) (done bool, err error) {
	for len(b) >= netlinkHeader {
		size := int(binary.NativeEndian.Uint32(b))
		if size < netlinkHeader || size > len(b) {
			return true, errors.New("sock_diag: a malformed message")
		}
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return true, errors.New("sock_diag: refused")
		default:
			do(b[netlinkHeader:size])
		}
		b = b[min(align(size), len(b)):]
	}
	return false, nil
}

// sendQueue finds the memory among a socket's attributes.
func sendQueue(b []byte) (SendQueue, bool) {
	native := binary.NativeEndian
	for len(b) >= 4 {
		size := int(native.Uint16(b))
		if size < 4 || size > len(b) {
			break
		}
		if native.Uint16(b[2:]) == skMemInfo && size >= 4+4*(memSendQueued+1) {
			words := b[4:]
			return SendQueue{
				Queued: int(native.Uint32(words[4*memSendQueued:])), Limit: int(native.Uint32(words[4*memSendLimit:])),
			}, true
		}
		b = b[min(align(size), len(b)):]
	}
	return SendQueue{}, false
}

func align(n int) int { return (n + attributeAlign - 1) &^ (attributeAlign - 1) }
