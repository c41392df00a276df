// Package httphost is what every service does around its handler: a listener with limits, as a part of the lifecycle, and the
// two questions that a balancer asks.
package httphost

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
)

// Server serves one handler on one address.
type Server struct {
	// static after New
	address string
	log     *slog.Logger
	server  *http.Server

	listener net.Listener // set by Start
}

// New makes a server that doesn't listen yet. Headers are bounded in size (32 KiB) and time (10 s); bodies and answers are
// the handler's business.
func New(address string, h http.Handler, log *slog.Logger) *Server {
	return &Server{address: address, log: log, server: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // it tells what peers do, not what we do
	}}
}

// Part is the server in a process's lifecycle: it listens from Start on; Stop takes no new requests and waits for those under
// way (hijacked connections are not among them) until ctx ends, when it cuts them.
func (s *Server) Part() lifecycle.Part {
	return lifecycle.Part{Name: "listener", Start: s.start, Stop: s.stop}
}

// URL is where the server is reached, once it listens.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

func (s *Server) start(ctx context.Context) (err error) {
	s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	go func() {
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serving ended", "address", s.address, "error", err)
		}
	}()
	return nil
}

func (s *Server) stop(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return errors.Join(err, s.server.Close())
	}
	return nil
}
