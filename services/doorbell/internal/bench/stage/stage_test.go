//go:build linux

package stage

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestCPUCountsWhatIsSpent(t *testing.T) {
	self := []int{os.Getpid()}
	before, err := CPU(self)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 30*time.Millisecond; { //nolint:revive // being busy is the point
	}
	after, err := CPU(self)
	if err != nil || after <= before || after > before+time.Minute {
		t.Errorf("from %s to %s, %v", before, after, err)
	}
	if _, err := CPU([]int{1<<22 - 1}); err == nil {
		t.Error("a process that isn't there has spent time")
	}
	if m, err := Memory(self); err != nil || m < 1<<20 {
		t.Errorf("this process has %d bytes, %v", m, err)
	}
	if m, err := Memory([]int{os.Getpid(), os.Getpid()}); err != nil || m < 1<<20 {
		t.Errorf("the proportional sets have %d bytes, %v", m, err)
	}
}

// TestSmallSendBuffersFill shrinks, from outside, the buffers of what a listener accepts, and fills them.
func TestSmallSendBuffersFill(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := &Server{Role: "test", Addr: listener.Addr().String(), PID: os.Getpid()}
	if err := s.ShrinkSendBuffers(4096); err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddr("127.31.0.1")
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(peer, 0))}
	client, err := dialer.Dial("tcp4", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	look := func() SendQueue {
		t.Helper()
		queues, err := SendQueues(peer)
		if err != nil || len(queues) != 1 {
			t.Fatalf("%d sockets to %s, %v; want one", len(queues), peer, err)
		}
		return queues[0]
	}
	if q := look(); q.Full() || q.Limit > 16<<10 {
		t.Fatalf("at first: %+v; want a small buffer that is empty", q)
	}
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	for err == nil {
		_, err = conn.Write(make([]byte, 64<<10))
	}
	if q := look(); !q.Full() {
		t.Errorf("when it takes no more: %+v; want that it is full", q)
	}
}
