package doorbelltest

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

const (
	// Patience is how long to wait for what has to come: long, since it costs nothing where all is well.
	Patience = 30 * time.Second
	// StopWithin is how long an asked server may take to end.
	StopWithin = 8 * time.Second
)

// Server is a `doorbell dev` that ends with its test.
type Server struct {
	*process.Dev

	tb testing.TB
}

// Dev starts `doorbell dev` with further arguments, on a free port and a folder of the test's own. When the test fails, its log
// is shown.
func Dev(tb testing.TB, args ...string) *Server {
	tb.Helper()
	if !slices.Contains(args, "--data") {
		args = append(args, "--data", filepath.Join(tb.TempDir(), "data"))
	}
	dev, err := process.StartDev(Binary(tb), nil, args...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		dev.Kill()
		if strings.Contains(dev.Log(), "panic") { // none may reach a client, and none should be survived in silence
			tb.Error("the server's log has a panic")
		}
		if tb.Failed() {
			tb.Logf("standard error of the server:\n%s", dev.Log())
		}
	})
	return &Server{dev, tb}
}

// Restart starts it again where it was.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.Dev.Restart(); err != nil {
		s.tb.Fatal(err)
	}
}

// Stop asks it to end, which has to be with success.
func (s *Server) Stop() {
	s.tb.Helper()
	if code, err := s.Dev.Stop(StopWithin); err != nil || code != 0 {
		s.tb.Fatalf("the server stopped with %d, %v; want 0", code, err)
	}
}

// HTTP is a client with connections of the test's own, of which nothing is left after the test.
func HTTP(tb testing.TB) *http.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Client is a client of the server.
func (s *Server) Client(opts ...doorbell.Option) *doorbell.Client {
	s.tb.Helper()
	client, err := doorbell.New(s.URL(), append([]doorbell.Option{doorbell.WithHTTPClient(HTTP(s.tb))}, opts...)...)
	if err != nil {
		s.tb.Fatal(err)
	}
	return client
}

// Head asks where a feed is; "" means that it doesn't exist.
func (s *Server) Head(feed string) string {
	s.tb.Helper()
	heads, err := s.Client().Heads(s.tb.Context(), feed)
	if err != nil {
		s.tb.Fatal(err)
	}
	if !heads[feed].Known {
		s.tb.Fatalf("the head of %s is not known", feed)
	}
	return heads[feed].Cursor
}

// Eventually waits until the condition holds.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// File writes a file of the test's own, and gives its path.
func File(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
