package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestBadCommands are answered with what is allowed, and leave the subscription as it was.
func TestBadCommands(t *testing.T) {
	server, head := fed(t)
	canary := newCanary(t, server, "demo:mine")
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"demo:%d":""`, i)
		}
		return b.String()[1:]
	}
	for _, tc := range []struct {
		name, send string
		code       string
		words      []string
	}{
		{"malformed JSON", `{"subscribe":`, "bad_command", []string{"offset 13"}},
		{"empty", ``, "bad_command", []string{"empty"}},
		{"no object", `["subscribe"]`, "bad_command", []string{"an array", "an object"}},
		{"unknown command", `{"frobnicate":1}`, "bad_command", []string{"frobnicate", `"subscribe", "unsubscribe", "auth", "ping"`}},
		{"two commands", `{"ping":1,"auth":"x"}`, "bad_command", []string{"one command"}},
		{"bad name", `{"subscribe":{"Bad Name":""}}`, "bad_command", []string{"Bad Name", "allowed"}},
		{"bad cursor", `{"subscribe":{"demo:mine":"yesterday"}}`, "bad_command", []string{"cursor", "allowed"}},
		{"duplicate key", `{"ping":1,"ping":2}`, "bad_command", []string{"twice"}},
		{"NUL byte", "{\"ping\":1\x00}", "bad_command", []string{"offset 9"}},
		{"deep nesting", strings.Repeat("[", 60<<10), "bad_command", []string{"nested", "8 levels"}},
		{"too many feeds", `{"subscribe":{` + many(1001) + `}}`, "too_many_feeds", []string{"1000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := dialSocket(t, server.Addr())
			bad.send(`{"subscribe":{"demo:mine":""}}`)
			bad.expect("subscribed")
			bad.send(tc.send)
			wantError(t, bad, tc.code, tc.words...)
			bad.send(`{"ping":1}`)
			bad.expect("pong")
			canary.sings(t, head)
		})
	}
	t.Run("binary frame", func(t *testing.T) {
		bad := dialSocket(t, server.Addr())
		bad.write(frame(0x80|opBinary, `{"ping":1}`))
		wantError(t, bad, "bad_command", "binary", "allowed: text")
	})
	t.Run("too many feeds of one connection", func(t *testing.T) {
		bad := dialSocket(t, server.Addr())
		for i := range 10 {
			bad.send(`{"subscribe":{` + strings.ReplaceAll(many(1000), "demo:", fmt.Sprintf("demo%d:", i)) + `}}`)
			bad.expect("subscribed")
		}
		bad.send(`{"subscribe":{"demo:mine":""}}`)
		wantError(t, bad, "too_many_feeds", "10000")
		bad.send(`{"unsubscribe":["demo0:1"]}`)
		bad.send(`{"subscribe":{"demo:mine":""}}`)
		bad.expect("subscribed")
	})
	canary.hears(t, 1)
}

func wantError(t *testing.T, s *rawSocket, code string, words ...string) {
	t.Helper()
	var got struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(s.expect("error"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Code != code {
		t.Errorf("the error is %+v; want %s", got, code)
	}
	for _, word := range words {
		if !strings.Contains(got.Detail, word) {
			t.Errorf("the error's detail is %q; want it to say %q", got.Detail, word)
		}
	}
}

// TestSocketsThatEnd: what no client sends by mistake closes its own connection, with a code, and no other.
func TestSocketsThatEnd(t *testing.T) {
	server, head := fed(t)
	canary := newCanary(t, server, "demo:mine")
	for _, tc := range []struct {
		name string
		send []byte
		code int
	}{
		{"ten malformed in a row", []byte(strings.Repeat(string(frame(0x80|opText, "{")), 10)), 4009},
		{"ten binary in a row", []byte(strings.Repeat(string(frame(0x80|opBinary, "{")), 10)), 4009},
		{"oversize", frame(0x80|opText, strings.Repeat(" ", 64<<10+1)), 4009},
		{"endless by its head", []byte("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00" + strings.Repeat(" ", 64<<10+1)), 4009},
		{"a length with the sign bit", []byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), 1002},
		{"oversize in parts", append(frame(opText, strings.Repeat(" ", 40<<10)), frame(0x80, strings.Repeat(" ", 40<<10))...), 4009},
		{"not masked", []byte{0x80 | opText, 2, '{', '}'}, 1002},
		{"reserved bits", frame(0xf0|opText, "{}"), 1002},
		{"reserved opcode", frame(0x80|3, "{}"), 1002},
		{"a part of nothing", frame(0x80, "{}"), 1002},
		{"a ping in parts", frame(opPing, "x"), 1002},
		{"a long ping", frame(0x80|opPing, strings.Repeat("x", 126)), 1002},
		{"a proper close", frame(0x80|opClose, "\x03\xe8"), 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := dialSocket(t, server.Addr())
			bad.write(tc.send)
			if code, reason := bad.expectClose(); code != tc.code {
				t.Errorf("closed with %d %q; want %d", code, reason, tc.code)
			}
			canary.sings(t, head)
		})
	}
	t.Run("nine malformed and a good one", func(t *testing.T) {
		bad := dialSocket(t, server.Addr())
		for range 2 {
			for range 9 {
				bad.send("{")
			}
			bad.send(`{"ping":1}`)
			bad.expect("pong")
		}
	})
	canary.hears(t, 1)
}

// TestSlowSockets: a crowd that says nothing, or a byte a second, or never reads, costs the others nothing; and
// who has not even finished a request's header is sent away.
func TestSlowSockets(t *testing.T) {
	t.Parallel() // it waits for time limits
	server, _ := fed(t)
	canary := newCanary(t, server, "demo:mine")
	const each = 20
	var unfinished []net.Conn // those that have to be sent away
	done := make(chan struct{})
	var dripping sync.WaitGroup
	defer dripping.Wait()
	defer close(done)
	drip := func(conn net.Conn, text string) {
		dripping.Go(func() {
			for i := range len(text) {
				select {
				case <-done:
					return
				case <-time.After(time.Second):
				}
				if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
					return
				}
			}
		})
	}
	for range each {
		silent := dialTCP(t, server.Addr())
		line := dialTCP(t, server.Addr())
		_, _ = io.WriteString(line, "GET /v1/feeds/demo:mine HTTP/1.1\r\nHost:")
		header := dialTCP(t, server.Addr())
		drip(header, "GET /v1/feeds/demo:mine HTTP/1.1\r\nHost: x\r\n\r\n")
		unfinished = append(unfinished, silent, line, header)

		body := dialTCP(t, server.Addr())
		_, _ = io.WriteString(body, "PUT "+item+"slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
		drip(body, `"`+strings.Repeat("x", 98)+`"`)

		dialSocket(t, server.Addr()) // says nothing after its handshake
		half := dialSocket(t, server.Addr())
		half.write(frame(0x80|opText, `{"ping":1}`)[:9])
		slow := dialSocket(t, server.Addr())
		drip(slow.conn, string(frame(0x80|opText, `{"subscribe":{"demo:mine":""}}`)))
		deaf := dialSocket(t, server.Addr()) // never reads, however much it is told
		deaf.send(`{"subscribe":{"demo:mine":""}}`)
	}

	began := time.Now()
	client := doorbelltest.HTTP(t)
	var slowest time.Duration
	for n := 1; time.Since(began) < 12*time.Second; n++ {
		slowest = max(slowest, canary.hears(t, n))
		res, err := client.Get(server.URL() + "/v1/feeds/demo:mine")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("a reader beside slow ones gets %s", res.Status)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond): // so as not to be the crowd that it tests
		}
	}
	if slowest > 3*time.Second { // milliseconds, on a machine that does nothing else
		t.Errorf("a write took %s to be heard beside slow sockets", slowest)
	}
	for i, conn := range unfinished {
		_ = conn.SetReadDeadline(time.Now().Add(doorbelltest.Patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection %d, with half a header, is still open", i)
		}
	}
}
