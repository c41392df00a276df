package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a server behind a front; each says who has answered.
func house(t *testing.T, taken http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if taken == nil {
		taken = func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "front ", r.Host, r.URL.Path) }
	}
	f := Listen(l, "/v1/signals", taken, slog.New(slog.DiscardHandler))
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "server %s%s %d", r.Host, r.URL.Path, len(body))
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(f)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		if err := f.Close(); err == nil {
			t.Log("closed by the server before")
		}
	})
	return l.Addr().String()
}

// ask sends parts with pauses in between, and gives the answer.
func ask(t *testing.T, addr string, parts ...string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for i, part := range parts {
		if i > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"

func TestWhoAnswers(t *testing.T) {
	addr := house(t, nil)
	for name, tc := range map[string]struct {
		parts  []string
		status int
		body   string
	}{
		"handshake":       {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\n" + upgrade + "\r\n"}, 200, "front a/v1/signals"},
		"in small pieces": {strings.SplitAfter("GET /v1/signals?x=1 HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\n", "s"), 200, "front a/v1/signals"},
		"no upgrade":      {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\n\r\n"}, 200, "server a/v1/signals 0"},
		"another path":    {[]string{"GET /v1/", "feeds/a HTTP/1.1\r\nHost: a\r\n\r\n"}, 200, "server a/v1/feeds/a 0"},
		"another method":  {[]string{"POST /v1/signals HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "abc"}, 200, "server a/v1/signals 3"},
		"with a body":     {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" + upgrade + "\r\n", "abc"}, 200, "server a/v1/signals 3"},
		"chunked":         {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + upgrade + "\r\n", "1\r\na\r\n0\r\n\r\n"}, 200, "server a/v1/signals 1"},
		"no host":         {[]string{"GET /v1/signals HTTP/1.1\r\n" + upgrade + "\r\n"}, 400, ""},
		"two hosts":       {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + upgrade + "\r\n"}, 400, ""},
		"old protocol":    {[]string{"GET /v1/signals HTTP/1.0\r\nHost: a\r\n" + upgrade + "\r\n"}, 200, "server a/v1/signals 0"},
		"not HTTP":        {[]string{"GET /v1/signals\r\n\r\n"}, 400, ""},
		"bad header":      {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\nb ad: x\r\n" + upgrade + "\r\n"}, 400, ""},
		"a large head":    {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("x", 9000) + "\r\n" + upgrade + "\r\n"}, 200, "server a/v1/signals 0"},
		"more behind it":  {[]string{"GET /v1/signals HTTP/1.1\r\nHost: a\r\n" + upgrade + "\r\nmore"}, 200, "server a/v1/signals 0"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := ask(t, addr, tc.parts...)
			if status != tc.status || (status == 200 && body != tc.body) {
				t.Errorf("got %d %q; want %d %q", status, body, tc.status, tc.body)
			}
		})
	}
}

// TestKeptAlive: a connection that has been passed on is like any other.
func TestKeptAlive(t *testing.T) {
	addr := house(t, nil)
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for range 5 {
		response, err := client.Post("http://"+addr+"/x", "text/plain", strings.NewReader(strings.Repeat("y", 10_000)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if !strings.HasSuffix(string(body), "/x 10000") {
			t.Errorf("got %q", body)
		}
	}
}

func TestRefusals(t *testing.T) {
	addr := house(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "come back")
	})
	if status, body := ask(t, addr, "GET /v1/signals HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\n"); status != 503 || body != "come back" {
		t.Errorf("got %d %q", status, body)
	}
}

// TestPanics end their connection alone.
func TestPanics(t *testing.T) {
	addr := house(t, func(http.ResponseWriter, *http.Request) { panic("no") })
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /v1/signals HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d, %v", n, err)
	}
	if status, _ := ask(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != 200 {
		t.Error(status)
	}
}

// TestClose ends those who have not said what they want.
func TestClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := Listen(l, "/v1/signals", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	var conns []net.Conn
	for _, said := range []string{"", "GET /v1/sig", "POST / HTTP/1.1"} { // the last one waits to be accepted
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, said)
		conns = append(conns, conn)
	}
	time.Sleep(50 * time.Millisecond)
	_ = f.Close()
	_ = f.Close()
	if _, err := f.Accept(); err == nil {
		t.Error("accepted after Close")
	}
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("still open")
		}
		_ = conn.Close()
	}
}
