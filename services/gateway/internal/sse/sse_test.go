package sse

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Dialogue made of functions; nil ones do nothing.
type script struct {
	open  func(ctx context.Context) error
	next  func(b []byte) []byte
	alarm func() error
	close func()
}

func (s *script) Open(ctx context.Context) error {
	if s.open == nil {
		return nil
	}
	return s.open(ctx)
}

func (s *script) Follow(context.Context, []feed.Name) {}

func (s *script) Next(b []byte) []byte {
	if s.next == nil {
		return b
	}
	return s.next(b)
}

func (s *script) Alarm() error {
	if s.alarm == nil {
		return nil
	}
	return s.alarm()
}

func (s *script) Close() {
	if s.close != nil {
		s.close()
	}
}

func (s *script) String() string { return "script" }

type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// listener is the client's end.
type listener struct {
	net.Conn
	t    *testing.T
	in   *bufio.Reader
	conn *Conn
	done chan wire.Close
}

// connect serves d over a pipe, with the protocol's times. Pipes hold nothing: what isn't read isn't accepted.
func connect(t *testing.T, d Dialogue) *listener {
	t.Helper()
	turning, pool := wheel.New(250*time.Millisecond), shard.New(1)
	l := &listener{t: t, done: make(chan wire.Close, 1)}
	opt := &Options{
		Logger: slog.New(slog.DiscardHandler), Context: t.Context(), Wheel: turning, Shards: pool,
		Outlet: outlet.Options{Stall: 40 * time.Second}, CommentEvery: 25 * time.Second, CloseWait: 5 * time.Second,
		Ended: func(_ *Conn, reason wire.Close) { l.done <- reason },
	}
	here, there := net.Pipe()
	l.Conn, l.in = there, bufio.NewReaderSize(there, 16)
	c, err := Answer(hijackable{httptest.NewRecorder(), here}, httptest.NewRequest(http.MethodGet, "/", nil), http.Header{}, opt)
	if err != nil {
		t.Fatal(err)
	}
	l.conn = c
	c.Start(d, nil)
	t.Cleanup(func() {
		_ = there.Close()
		<-l.done
		turning.Close()
		pool.Close()
	})
	return l
}

func (l *listener) line() string {
	l.t.Helper()
	line, err := l.in.ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// head reads the answer's head, and what comes first in its body.
func (l *listener) head() {
	l.t.Helper()
	if line := l.line(); line != "HTTP/1.1 200 OK" {
		l.t.Fatalf("it begins with %q", line)
	}
	for l.line() != "" { //nolint:revive // what it says is tested elsewhere
	}
	if line := l.line(); !strings.HasPrefix(line, "retry: ") {
		l.t.Fatalf("the body begins with %q", line)
	}
	l.line()
}

// TestComments come every 20 to 30 s, for as long as somebody listens.
func TestComments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connect(t, new(script))
		l.head()
		for last := time.Now(); time.Since(last) == 0 || len(l.done) == 0; {
			if line := l.line(); line != ":" {
				t.Fatalf("the line %q", line)
			}
			l.line()
			if pause := time.Since(last); pause < 20*time.Second || pause > 30*time.Second+500*time.Millisecond {
				t.Errorf("a comment after %s", pause)
			}
			if last = time.Now(); last.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) > time.Hour {
				return
			}
		}
	})
}

// TestWhoAcceptsNothingIsDead after 40 s.
func TestWhoAcceptsNothingIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := connect(t, new(script))
		reason := <-l.done
		if reason.Code != wire.CloseDead || time.Since(began) > 46*time.Second {
			t.Errorf("%+v after %s", reason, time.Since(began))
		}
		l.done <- reason // for the cleanup
	})
}

// TestAlarm comes at its time, and its verdict ends the answer with a word.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connect(t, &script{alarm: func() error { return &wire.Close{Code: wire.CloseToken, Reason: "over"} }})
		began := time.Now()
		l.conn.AlarmAt(began.Add(time.Hour))
		l.conn.AlarmAt(began.Add(3 * time.Second))
		l.head()
		rest, err := io.ReadAll(l.in)
		if want := "event: close\ndata: {\"close\":{\"code\":4001,\"reason\":\"over\"}}\n\n"; err != nil || string(rest) != want {
			t.Errorf("it ends with %q, %v", rest, err)
		}
		if late := time.Since(began); late < 3*time.Second || late > 4*time.Second {
			t.Errorf("after %s", late)
		}
	})
}

// TestAnEndBeforeTheBeginning is a status, whatever gives it: what is said while the dialogue opens, or before it is started.
func TestAnEndBeforeTheBeginning(t *testing.T) {
	for code, want := range map[int]string{
		wire.CloseToken: "401", wire.CloseForbidden: "403", wire.CloseTooMany: "429", wire.CloseRestart: "503", wire.CloseInternal: "500",
	} {
		synctest.Test(t, func(t *testing.T) {
			closed := false
			l := connect(t, &script{
				open: func(ctx context.Context) error {
					<-ctx.Done() // as long as nobody ends it
					return ctx.Err()
				},
				close: func() { closed = true },
				next:  func([]byte) []byte { panic("there is nothing to tell") },
			})
			time.Sleep(time.Second)
			l.conn.Close(wire.Close{Code: code, Reason: "1500 ms"})
			l.conn.Close(wire.Close{Code: wire.CloseRestart, Reason: "the first one counts"})
			response, err := http.ReadResponse(l.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if !strings.HasPrefix(response.Status, want) || err != nil || !strings.Contains(string(body), `"code":`) || !closed {
				t.Errorf("%d: %s %s, %v", code, response.Status, body, err)
			}
			if code == wire.CloseTooMany && response.Header.Get("Retry-After") != "2" {
				t.Errorf("Retry-After is %q", response.Header.Get("Retry-After"))
			}
		})
	}
}

// TestPanicsStayInTheirAnswer: the others go on.
func TestPanicsStayInTheirAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connect(t, &script{next: func([]byte) []byte { panic("oh") }})
		l.head()
		rest, err := io.ReadAll(l.in)
		if !strings.Contains(string(rest), `{"close":{"code":1011,`) || err != nil {
			t.Errorf("it ends with %q, %v", rest, err)
		}
	})
}

// TestNothingComesAfterTheLastEvent: it is not written before the dialogue is closed, whose hub writes on its own.
func TestNothingComesAfterTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *listener
		l = connect(t, &script{close: func() {
			out := l.conn.Outlet()
			out.Wake()
			time.Sleep(time.Second)
			out.Claim()
			out.Send([]byte("a signal\n"))
		}})
		l.head()
		go l.conn.Close(wire.Close{Code: wire.CloseRestart, Reason: "restart"})
		if line := l.line(); line != "a signal" {
			t.Errorf("first comes %q", line)
		}
		if rest, err := io.ReadAll(l.in); err != nil || !strings.HasPrefix(string(rest), "event: close\n") {
			t.Errorf("it ends with %q, %v", rest, err)
		}
	})
}

// TestAWriterThatFails: who writes on its own, as the hub does, may give the answer up.
func TestAWriterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connect(t, new(script))
		l.head()
		synctest.Wait()
		out := l.conn.Outlet()
		if !out.Claim() {
			t.Fatal("somebody else writes")
		}
		out.Fail(errors.New("a panic"))
		if rest, err := io.ReadAll(l.in); err != nil || len(rest) > 0 {
			t.Errorf("it ends with %q, %v", rest, err)
		}
	})
}

// TestAbort leaves nothing behind, whenever it comes.
func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connect(t, new(script))
		l.conn.Abort()
		if _, err := io.ReadAll(l.in); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
}
