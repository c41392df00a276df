package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

const (
	changes = "/v1/feeds/demo:mine/changes"
	item    = "/v1/feeds/demo:mine/items/"
)

// fed starts a server whose feed demo:mine has an item.
func fed(t *testing.T) (server *doorbelltest.Server, head string) {
	t.Helper()
	server = doorbelltest.Dev(t)
	written, err := server.Client().Put(t.Context(), "demo:mine", "one", json.RawMessage(`1`))
	if err != nil {
		t.Fatal(err)
	}
	return server, written.Cursor
}

// TestBadRequests get a clear problem, and change nothing for anybody. They go out as they stand, through no library.
func TestBadRequests(t *testing.T) {
	server, head := fed(t)
	canary := newCanary(t, server, "demo:mine")
	batch := func(n int) string {
		return `{"changes":[` + strings.TrimSuffix(strings.Repeat(`{"key":"a","value":1},`, n), ",") + `]}`
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	const jsonType = "Content-Type: application/json\r\n"
	for _, tc := range []struct {
		name, line, header, body string
		status                   int
		code, says               string
	}{
		{"malformed JSON", "POST " + changes, jsonType, `{"changes":[{]}`, 400, "malformed_json", "at byte 13"},
		{"half a value", "PUT " + item + "one", jsonType, `{"a":`, 400, "malformed_json", "at byte 5"},
		{"trailing text", "PUT " + item + "one", jsonType, `1 2`, 400, "malformed_json", "at byte 2"},
		{"no body", "PUT " + item + "one", jsonType, ``, 400, "malformed_json", "empty"},
		{"NUL byte", "PUT " + item + "one", jsonType, "\"\x00\"", 400, "malformed_json", "at byte 1"},
		{"NUL in a key", "POST " + changes, jsonType, `{"changes":[{"key":"a\u0000","value":1}]}`, 400, "bad_key", "printable"},
		{"NUL in a path", "PUT " + item + "a%00b", jsonType, `1`, 400, "bad_key", "allowed"},
		{"NUL in a name", "GET /v1/feeds/%00", "", ``, 400, "bad_feed", "allowed"},
		{"invalid UTF-8", "PUT " + item + "one", jsonType, "\"\xff\"", 400, "malformed_json", "UTF-8"},
		{"unknown member", "POST " + changes, jsonType, `{"changes":[{"key":"a","value":1}],"extra":1}`, 400, "unknown_field", `"extra"; allowed: changes`},
		{"unknown member of a change", "POST " + changes, jsonType, `{"changes":[{"key":"a","val":1}]}`, 400, "unknown_field", "changes[0]"},
		{"bad name", "PUT /v1/feeds/Demo/items/one", jsonType, `1`, 400, "bad_feed", "allowed"},
		{"empty part", "POST /v1/feeds/demo::x/touch", "", ``, 400, "bad_feed", "allowed"},
		{"long name", "GET /v1/feeds/" + x(129), "", ``, 400, "bad_feed", "128"},
		{"key .", "PUT " + item + ".", jsonType, `1`, 400, "bad_key", "allowed"},
		{"key ..", "PUT " + item + "..", jsonType, `1`, 400, "bad_key", "allowed"},
		{"key %2E%2E", "DELETE " + item + "%2E%2e", "", ``, 400, "bad_key", "allowed"},
		{"key .. in a body", "POST " + changes, jsonType, `{"changes":[{"key":"..","value":1}]}`, 400, "bad_key", "allowed"},
		{"long key", "PUT " + item + x(257), jsonType, `1`, 400, "bad_key", "256"},
		{"bad cursor", "GET " + changes + "?since=yesterday", "", ``, 400, "bad_cursor", "allowed"},
		{"bad floor", "GET /v1/feeds/demo:mine?at_least=-1", "", ``, 400, "bad_cursor", "allowed"},
		{"bad If-Match", "POST /v1/feeds/demo:mine/touch", "If-Match: now\r\n", ``, 400, "bad_precondition", "allowed"},
		{"large value", "PUT " + item + "one", jsonType, `"` + x(256<<10) + `"`, 413, "value_too_large", "262144"},
		{"large value in a batch", "POST " + changes, jsonType, `{"changes":[{"key":"a","value":"` + x(256<<10) + `"}]}`, 413, "value_too_large", "262144"},
		{"large batch", "POST " + changes, jsonType, batch(1001), 413, "batch_too_large", "1000"},
		{"large body", "POST " + changes, jsonType, batch(1) + strings.Repeat(" ", 8<<20), 413, "too_large", "8388608"},
		{"deep nesting", "PUT " + item + "one", jsonType, strings.Repeat("[", 65) + strings.Repeat("]", 65), 400, "too_deep", "64"},
		{"very deep nesting", "PUT " + item + "one", jsonType, strings.Repeat("[", 200_000), 400, "too_deep", "64"},
		{"duplicate key", "PUT " + item + "one", jsonType, `{"a":1,"b":{"c":1,"c":2}}`, 400, "duplicate_key", "c"},
		{"wrong content type", "POST " + changes, "Content-Type: text/plain\r\n", batch(1), 415, "unsupported_media_type", "application/json"},
		{"a form", "PUT " + item + "one", "Content-Type: application/x-www-form-urlencoded\r\n", `1`, 415, "unsupported_media_type", "application/json"},
		{"no content type", "PUT " + item + "one", "", `1`, 415, "unsupported_media_type", "application/json"},
		{"compressed", "PUT " + item + "one", jsonType + "Content-Encoding: gzip\r\n", `1`, 415, "unsupported_media_type", "allowed"},
		{"wrong method", "PATCH " + item + "one", jsonType, `1`, 405, "method_not_allowed", "PUT"},
		{"made-up method", "BREW " + changes, "", ``, 405, "method_not_allowed", "POST"},
		{"wrong method for signals", "POST /v1/signals", "", ``, 405, "method_not_allowed", "GET"},
		{"two since", "GET " + changes + "?since=1&since=2", "", ``, 400, "repeated_parameter", "once"},
		{"limit 0", "GET " + changes + "?limit=0", "", ``, 400, "bad_limit", "1 to 10000"},
		{"no path", "GET /v1/nothing", "", ``, 404, "not_found", ""},
		{"no WebSocket", "GET /v1/signals", "", ``, 426, "upgrade_required", "WebSocket"},
		{"an old WebSocket", "GET /v1/signals", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ``, 400, "bad_handshake", "13"},
		{"a page of others", "POST " + changes, jsonType + "Origin: https://elsewhere.example\r\n", batch(1), 403, "forbidden_origin", ""},
		{"a WebSocket of others", "GET /v1/signals", "Origin: https://elsewhere.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ``, 403, "origin_not_allowed", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, body := exchange(t, server.Addr(), tc.line+" HTTP/1.1\r\nHost: "+server.Addr()+"\r\n"+tc.header+
				fmt.Sprintf("Content-Length: %d\r\n\r\n", len(tc.body))+tc.body)
			var problem struct {
				Status int    `json:"status"`
				Code   string `json:"code"`
				Detail string `json:"detail"`
			}
			if err := json.Unmarshal(body, &problem); err != nil {
				t.Fatalf("%s, no problem: %q", res.Status, body)
			}
			if res.StatusCode != tc.status || problem.Status != tc.status || problem.Code != tc.code {
				t.Errorf("%d %s; want %d %s", res.StatusCode, body, tc.status, tc.code)
			}
			if problem.Detail == "" || !strings.Contains(problem.Detail, tc.says) {
				t.Errorf("the detail is %q; want it to say %q", problem.Detail, tc.says)
			}
			if res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the header is %v", res.Header)
			}
			if (res.Header.Get("Allow") != "") != (tc.status == 405) {
				t.Errorf("Allow is %q", res.Header.Get("Allow"))
			}
			canary.sings(t, head)
		})
	}
	canary.hears(t, 1)
}

// TestBrokenHTTP is answered with 400 by whatever reads HTTP, or not at all.
func TestBrokenHTTP(t *testing.T) {
	server, head := fed(t)
	canary := newCanary(t, server, "demo:mine")
	for name, text := range map[string]string{
		"no HTTP":               "hello?\r\n\r\n",
		"TLS":                   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"two lengths":           "PUT " + item + "one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
		"length and chunks":     "PUT " + item + "one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\nTransfer-Encoding: wrong\r\n\r\n1",
		"negative length":       "PUT " + item + "one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n1",
		"broken chunks":         "PUT " + item + "one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n1\r\n0\r\n\r\n",
		"NUL in a header":       "GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
		"broken escape":         "GET /v1/feeds/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"no host":               "GET /v1/feeds/demo:mine HTTP/1.1\r\n\r\n",
		"a header beyond bound": "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 192<<10) + "\r\n\r\n",
	} {
		res, body := exchange(t, server.Addr(), text)
		if res.StatusCode < 400 || res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
		canary.sings(t, head)
	}
	// The server may be given half a request and then nobody.
	for _, half := range []string{"", "PUT", "PUT " + item + "one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n12"} {
		conn := dialTCP(t, server.Addr())
		_, _ = io.WriteString(conn, half)
		_ = conn.Close()
	}
	canary.sings(t, head)
	canary.hears(t, 1)
}

// exchange sends a request as it stands and reads the answer.
func exchange(t *testing.T, addr, request string) (*http.Response, []byte) {
	t.Helper()
	conn := dialTCP(t, addr)
	defer conn.Close()
	// Beside reading: a server that has heard enough answers early and closes.
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, request)
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	_ = conn.Close()
	<-sent
	return res, body
}
