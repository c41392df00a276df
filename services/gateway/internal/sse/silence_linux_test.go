package sse

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/front"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// TestTheKernelEndsWhoHasVanished: it is asked to, with the outlet's stall. A peer that vanishes without a word can't be had in one
// machine.
func TestTheKernelEndsWhoHasVanished(t *testing.T) {
	t.Run("plain", func(t *testing.T) { limited(t, false) })
	t.Run("TLS", func(t *testing.T) { limited(t, true) })
}

func limited(t *testing.T, encrypted bool) {
	limits := make(chan int, 1)
	turning, pool := wheel.New(time.Second), shard.New(1)
	defer pool.Close()
	defer turning.Close()
	ended := make(chan struct{})
	opt := &Options{
		Logger: slog.New(slog.DiscardHandler), Context: t.Context(), Wheel: turning, Shards: pool,
		Outlet: outlet.Options{Stall: 40 * time.Second}, CommentEvery: 25 * time.Second, CloseWait: time.Second,
		Ended: func(*Conn, wire.Close) { close(ended) },
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Answer(w, r, http.Header{}, opt)
		if err != nil {
			t.Error(err)
			return
		}
		tcp := tcpOf(c.link.(*hijacked).conn)
		if _, plain := c.link.(*hijacked).conn.(*net.TCPConn); plain == encrypted {
			t.Error("the socket is not written to as what it is")
		}
		if tcp == nil {
			limits <- 0
		} else if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				limit, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
				limits <- limit
			})
		}
		c.Start(new(script), nil)
	}))
	server.Listener = front.Listen(server.Listener, "/signals", http.NotFoundHandler(), opt.Logger) // as a node does
	if encrypted {
		server.StartTLS()
	} else {
		server.Start()
	}
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-limits; got != 40_000 {
		t.Errorf("the kernel gives up after %d ms", got)
	}
	_ = response.Body.Close()
	<-ended
}
