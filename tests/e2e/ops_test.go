package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestProbes: alive and ready are plain answers that nobody keeps.
func TestProbes(t *testing.T) {
	server := doorbelltest.Dev(t)
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		res, body := exchange(t, server.Addr(), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if res.StatusCode != http.StatusOK || string(body) != want || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s %q %v", path, res.Status, body, res.Header)
		}
	}
}

// TestHeadsAfterARestart: the first question already gets the true answer, both ways to ask, and never null.
func TestHeadsAfterARestart(t *testing.T) {
	server := doorbelltest.Dev(t)
	want := map[string]string{"demo:none": ""}
	for _, feed := range []string{"demo:a", "demo:b", "demo:touched"} {
		var written struct {
			Cursor string `json:"cursor"`
		}
		for range 3 {
			_, body := exchange(t, server.Addr(), "POST /v1/feeds/"+feed+"/touch HTTP/1.1\r\nHost: "+server.Addr()+"\r\nContent-Length: 0\r\n\r\n")
			if err := json.Unmarshal(body, &written); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
		}
		want[feed] = written.Cursor
	}
	for _, end := range []func(){server.Kill, server.Stop} {
		for _, request := range []string{
			"GET /v1/heads?feed=demo:a&feed=demo:b&feed=demo:touched&feed=demo:none HTTP/1.1\r\nHost: x\r\n\r\n",
			"POST /v1/heads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 56\r\n\r\n" +
				`{"feeds":["demo:a","demo:b","demo:touched","demo:none"]}`,
		} {
			end()
			server.Restart()
			_, body := exchange(t, server.Addr(), request)
			var got struct {
				Heads map[string]*string `json:"heads"`
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			known := map[string]string{}
			for feed, head := range got.Heads {
				if head != nil {
					known[feed] = *head
				}
			}
			if !maps.Equal(known, want) {
				t.Errorf("right after the start the heads are %s; want %v", body, want)
			}
		}
		// So it is on the socket.
		s := dialSocket(t, server.Addr())
		s.send(`{"subscribe":{"demo:a":"","demo:b":"","demo:touched":"","demo:none":""}}`)
		var heads map[string]string
		if err := json.Unmarshal(s.expect("subscribed"), &heads); err != nil || !maps.Equal(heads, want) {
			t.Errorf("subscribed to %v, %v; want %v", heads, err, want)
		}
		_ = s.conn.Close() // or the server would wait for its part of the close handshake
	}
}

// begin sends half a write, and gives what finishes it.
func begin(t *testing.T, server *doorbelltest.Server) (finish func() (*http.Response, error)) {
	t.Helper()
	conn := dialTCP(t, server.Addr())
	_, _ = io.WriteString(conn, "PUT /v1/feeds/demo:mine/items/last HTTP/1.1\r\nHost: "+server.Addr()+
		"\r\nContent-Type: application/json\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n")
	r := bufio.NewReader(conn)
	// Its handler reads the body: that is when the server says to go on.
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = r.ReadString('\n')
	_, _ = io.WriteString(conn, `"wo`)
	return func() (*http.Response, error) {
		_, _ = io.WriteString(conn, `rd"`)
		return http.ReadResponse(r, nil)
	}
}

// wantEnd waits until the server, which has been sent a signal, has ended.
func wantEnd(t *testing.T, server *doorbelltest.Server, code int) {
	t.Helper()
	select {
	case <-server.Done():
	case <-time.After(doorbelltest.StopWithin):
		t.Fatal("the server does not end")
	}
	if got := server.ExitCode(); got != code {
		t.Errorf("the server has ended with %d; want %d", got, code)
	}
}

// TestStopping: sockets are told to come back, what is under way is finished, and the exit code is 0.
func TestStopping(t *testing.T) {
	server := doorbelltest.Dev(t)
	for name, s := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		var sockets []*rawSocket
		for range 20 {
			sockets = append(sockets, dialSocket(t, server.Addr()))
		}
		finish := begin(t, server)
		server.Signal(s)
		for _, socket := range sockets {
			if code, reason := socket.expectClose(); code != 1012 {
				t.Errorf("%s closes a socket with %d %q; want 1012", name, code, reason)
			}
			_ = socket.conn.Close()
		}
		if res, err := finish(); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("a write that was under way at %s got %v, %v", name, res, err)
		}
		wantEnd(t, server, 0)
		server.Restart()
	}
	state, err := server.Client().Load(t.Context(), "demo:mine")
	if err != nil || string(state.Items["last"].Value) != `"word"` || seqOf(state.Cursor) != 2 {
		t.Errorf("after both the feed is %+v, %v", state, err)
	}
}

// TestSecondSignal: who asks twice doesn't want to wait.
func TestSecondSignal(t *testing.T) {
	server := doorbelltest.Dev(t)
	socket := dialSocket(t, server.Addr())
	begin(t, server) // and never finished
	server.Signal(syscall.SIGTERM)
	if code, _ := socket.expectClose(); code != 1012 {
		t.Errorf("closed with %d; want 1012", code)
	}
	if !server.Running() {
		t.Fatal("it did not wait for the write under way")
	}
	server.Signal(syscall.SIGTERM)
	wantEnd(t, server, -1) // by the signal
	server.Restart()
	if head := server.Head("demo:mine"); head != "" {
		t.Errorf("half a write made %s", head)
	}
}
