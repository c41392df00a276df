// Package httphost is what every service does around its handler: a listener with limits, as a part of the lifecycle, and the
// two questions that a balancer asks.
package httphost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/httphost/lines"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
)

// Server serves one handler on one address.
type Server struct {
	// static after New
	address   string
	cert, key string // files; "": no TLS
	log       *slog.Logger
	server    *http.Server

	front func(net.Listener) net.Listener // nil: none

	listener net.Listener // set by Start
}

// stopGrace is how long requests under way may take to end when the server is stopped.
const stopGrace = 10 * time.Second

// New makes a server that doesn't listen yet. Headers are bounded in size (160 KiB, which a question for 1,000 heads fits)
// and time (10 s), a whole request in time (40 s); bodies and answers are the handler's business, but an answer that isn't
// written within a minute is cut, unless the handler extends that.
func New(address string, h http.Handler, log *slog.Logger) *Server {
	return &Server{address: address, log: log, server: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       40 * time.Second, // of bodies that no handler reads, too
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    160 << 10,
		// Who has vanished while a stream is open is found out as soon as on a connection of its own.
		HTTP2:       &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
		ConnContext: lines.Context,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // it tells what peers do, not what we do
	}}
}

// UseTLS makes it speak TLS with the certificate in a pair of PEM files, which may be replaced at any time: a new one is
// served within 10 s. Two empty names change nothing. It comes before Start.
func (s *Server) UseTLS(cert, key string) { s.cert, s.key = cert, key }

// Front puts something between the listener and the server that may take connections off it; where TLS is spoken it isn't
// asked. It comes before Start, and front is called by that. Its result is closed with the server.
func (s *Server) Front(front func(net.Listener) net.Listener) { s.front = front }

// Part is the server in a process's lifecycle: it listens from Start on; Stop takes no new requests and waits for those under
// way (hijacked connections are not among them) for 10 s or until ctx ends, when it cuts them. fail is told when serving ends by itself.
func (s *Server) Part(fail func(error)) lifecycle.Part {
	return lifecycle.Part{
		Name:  "listener",
		Start: func(ctx context.Context) error { return s.start(ctx, fail) },
		Stop:  s.stop,
	}
}

// URL is where the server is reached from this machine, once it listens.
func (s *Server) URL() string {
	scheme := "http://"
	if s.cert != "" {
		scheme = "https://"
	}
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	if ok && addr.IP.IsUnspecified() {
		return fmt.Sprintf("%slocalhost:%d", scheme, addr.Port)
	}
	return scheme + s.listener.Addr().String()
}

func (s *Server) start(ctx context.Context, fail func(error)) (err error) {
	serve := s.server.Serve
	if s.cert != "" {
		certificate, err := loadCertificate(s.cert, s.key, s.log)
		if err != nil {
			return err
		}
		s.server.TLSConfig = certificate.config()
		serve = func(l net.Listener) error { return s.server.ServeTLS(l, "", "") }
	}
	s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	if s.front != nil && s.cert == "" {
		s.listener = s.front(s.listener)
	}
	go func() {
		if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("serve on %s: %w", s.address, err))
		}
	}()
	return nil
}

func (s *Server) stop(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	err := s.server.Shutdown(grace)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.Join(err, s.server.Close())
	}
	// One slow client must use up neither the time of what is stopped after this, nor make the stop a failure.
	s.log.Warn("requests under way were cut", "after", stopGrace)
	return s.server.Close()
}
