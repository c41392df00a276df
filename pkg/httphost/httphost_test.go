package httphost

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func unexpected(t *testing.T) func(error) {
	return func(err error) { t.Errorf("serving ended by itself: %v", err) }
}

func TestServingThatEndsByItselfIsTold(t *testing.T) {
	s := New("127.0.0.1:0", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	failed := make(chan error, 1)
	if err := s.Part(func(err error) { failed <- err }).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.listener.Close()
	if err := <-failed; err == nil {
		t.Error("nobody was told")
	}
}

func TestServesFromStartToStop(t *testing.T) {
	under, release := make(chan struct{}), make(chan struct{})
	s := New("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(under)
		<-release
		_, _ = io.WriteString(w, "done")
	}), slog.New(slog.DiscardHandler))
	part := s.Part(unexpected(t))
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := make(chan string, 1)
	go func() {
		res, err := http.Get(s.URL())
		if err != nil {
			body <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(res.Body)
		body <- string(text)
	}()
	<-under
	stopped := make(chan error, 1)
	go func() { stopped <- part.Stop(t.Context()) }()
	close(release)
	if text := <-body; text != "done" {
		t.Errorf("a request under way got %q", text)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if res, err := http.Get(s.URL()); err == nil {
		_ = res.Body.Close()
		t.Error("it still serves")
	}
}

func TestStopCutsWhatTakesTooLong(t *testing.T) {
	under := make(chan struct{})
	s := New("127.0.0.1:0", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(under)
		<-r.Context().Done()
	}), slog.New(slog.DiscardHandler))
	part := s.Part(unexpected(t))
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() {
		if res, err := http.Get(s.URL()); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-under
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := part.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped with %v; want that it took too long", err)
	}
}

func TestAddressInUse(t *testing.T) {
	a := New("127.0.0.1:0", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err := a.Part(unexpected(t)).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Part(unexpected(t)).Stop(t.Context()) }()
	b := New(strings.TrimPrefix(a.URL(), "http://"), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err := b.Part(unexpected(t)).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("started with %v; want that the address is in use", err)
	}
}

func TestReadyTellsNoSecrets(t *testing.T) {
	var log strings.Builder
	for _, c := range []struct {
		err    error
		status int
		body   string
	}{{nil, 200, "ready\n"}, {errors.New("password=hunter2"), 503, "not ready\n"}} {
		w := httptest.NewRecorder()
		Ready(func(context.Context) error { return c.err }, slog.New(slog.NewTextHandler(&log, nil)))(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if w.Code != c.status || w.Body.String() != c.body || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("for %v: %d %q %v", c.err, w.Code, w.Body, w.Header())
		}
	}
	if !strings.Contains(log.String(), "hunter2") {
		t.Error("the log does not say why")
	}
}

func TestDrainSaysSoThenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Drain{Wait: 3 * time.Second}
		stopped := make(chan error, 1)
		go func() { stopped <- d.Part().Stop(t.Context()) }()
		synctest.Wait()
		if !d.Begun() || len(stopped) != 0 {
			t.Fatal("it should say that it stops, and wait")
		}
		begun := time.Now()
		if err := <-stopped; err != nil || time.Since(begun) != d.Wait {
			t.Fatalf("waited %s, %v; want %s", time.Since(begun), err, d.Wait)
		}
	})
}

// TestBoundsOfARequest: net/http reads a body that no handler reads before it answers, so the bound must be the server's.
func TestBoundsOfARequest(t *testing.T) {
	s := New("127.0.0.1:0", http.NotFoundHandler(), slog.New(slog.DiscardHandler)).server
	if s.ReadTimeout <= 0 || s.ReadHeaderTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 {
		t.Errorf("a server without bounds: %+v", s)
	}
	if s.MaxHeaderBytes < 1000*(128+len("&feed=")) {
		t.Errorf("headers of %d bytes don't hold a question for 1,000 heads", s.MaxHeaderBytes)
	}
}
