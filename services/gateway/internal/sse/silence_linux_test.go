package sse

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// TestTheKernelEndsWhoHasVanished: it is asked to, with the outlet's stall. A peer that vanishes without a word can't be had in one
// machine.
func TestTheKernelEndsWhoHasVanished(t *testing.T) {
	limits := make(chan int, 1)
	turning, pool := wheel.New(time.Second), shard.New(1)
	defer pool.Close()
	defer turning.Close()
	ended := make(chan struct{})
	opt := &Options{
		Logger: slog.New(slog.DiscardHandler), Context: context.Background(), Wheel: turning, Shards: pool,
		Outlet: outlet.Options{Stall: 40 * time.Second}, CommentEvery: 25 * time.Second, CloseWait: time.Second,
		Ended: func(*Conn, wire.Close) { close(ended) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spy := &spy{ResponseWriter: w}
		c, err := Answer(spy, r, http.Header{}, opt)
		if err != nil {
			t.Error(err)
			return
		}
		raw, _ := spy.conn.(*net.TCPConn).SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			limit, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
			limits <- limit
		})
		c.Start(new(script), nil)
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-limits; got != 40_000 {
		t.Errorf("the kernel gives up after %d ms", got)
	}
	_ = response.Body.Close()
	<-ended
}

// spy sees the connection that is taken over.
type spy struct {
	http.ResponseWriter
	conn net.Conn
}

func (s *spy) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	s.conn = conn
	return conn, rw, err
}
