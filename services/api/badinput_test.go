package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	api "github.com/doorbell-sync/doorbell/services/api"
)

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// TestBadInput: a clear problem, and nothing changed.
func TestBadInput(t *testing.T) {
	h := newHarness(t)
	h.put("tiny:a", "one", "1")
	w := bearer(writerToken)
	const changes, item = "/v1/feeds/tiny:a/changes", "/v1/feeds/tiny:a/items/one"
	batch := func(n int) string {
		return `{"changes":[` + strings.TrimSuffix(strings.Repeat(`{"key":"a","value":1},`, n), ",") + `]}`
	}
	for _, tc := range []struct {
		name, method, target, body string
		header                     header
		status                     int
		code, says                 string
	}{
		{"malformed batch", "POST", changes, `{"changes":[{]}`, nil, 400, "malformed_json", "13"},
		{"malformed value", "PUT", item, `{"a":}`, nil, 400, "malformed_json", "5"},
		{"no value", "PUT", item, ``, header{"Content-Type": "application/json"}, 400, "malformed_json", "empty"},
		{"two values", "PUT", item, `1 2`, nil, 400, "malformed_json", "2"},
		{"trailing data", "POST", changes, batch(1) + "x", nil, 400, "malformed_json", "follows"},
		{"NUL", "PUT", item, "\"\x00\"", nil, 400, "malformed_json", "1"},
		{"NUL behind", "PUT", item, "1\x00", nil, 400, "malformed_json", "1"},
		{"NUL in a key", "POST", changes, `{"changes":[{"key":"a\u0000b","value":1}]}`, nil, 400, "bad_key", "printable"},
		{"NUL in a path", "PUT", "/v1/feeds/tiny:a/items/a%00b", `1`, nil, 400, "bad_key", "printable"},
		{"invalid UTF-8", "PUT", item, "\"\xc3\x28\"", nil, 400, "malformed_json", "UTF-8"},
		{"invalid UTF-8 in a path", "PUT", "/v1/feeds/tiny:a/items/%ff", `1`, nil, 400, "bad_key", "UTF-8"},
		{"unknown member", "POST", changes, `{"changes":[{"key":"a","value":1}],"x":1}`, nil, 400, "unknown_field", "x"},
		{"unknown member of a change", "POST", changes, `{"changes":[{"key":"a","val":1}]}`, nil, 400, "unknown_field", "val"},
		{"a body for touch", "POST", "/v1/feeds/tiny:a/touch", `{"if":""}`, nil, 400, "unknown_field", "if"},
		{"a body for delete", "DELETE", item, `{"if":""}`, nil, 400, "unknown_field", "if"},
		{"a list for touch", "POST", "/v1/feeds/tiny:a/touch", `[]`, nil, 400, "bad_body", "object"},
		{"a large body for touch", "POST", "/v1/feeds/tiny:a/touch", strings.Repeat(" ", 5000), nil, 413, "too_large", "4096"},
		{"duplicate key", "PUT", item, `{"a":1,"a":2}`, nil, 400, "duplicate_key", `\"a\"`},
		{"deep duplicate key", "PUT", item, `{"a":[{"b":1,"c":2,"b":1}]}`, nil, 400, "duplicate_key", "a[0]"},
		{"too deep", "PUT", item, nested(65)[:64] + nested(65)[65:] + "]", nil, 413, "value_too_large", "64"},
		{"bad feed", "PUT", "/v1/feeds/Tiny/items/a", `1`, nil, 400, "bad_feed", "[a-z]"},
		{"bad feed", "POST", "/v1/feeds/tiny::a/touch", ``, nil, 400, "bad_feed", "part"},
		{"bad feed", "GET", "/v1/feeds/tiny:a%2Fb", ``, nil, 400, "bad_feed", "allowed"},
		{"bad feed", "GET", "/v1/feeds/%00", ``, nil, 400, "bad_feed", "allowed"},
		{"bad feed", "GET", "/v1/feeds/" + strings.Repeat("x", 129), ``, nil, 400, "bad_feed", "128"},
		{"key .", "PUT", "/v1/feeds/tiny:a/items/.", `1`, nil, 400, "bad_key", "path step"},
		{"key ..", "PUT", "/v1/feeds/tiny:a/items/..", `1`, nil, 400, "bad_key", "path step"},
		{"key %2E", "PUT", "/v1/feeds/tiny:a/items/%2E", `1`, nil, 400, "bad_key", "path step"},
		{"key %2E%2E", "GET", "/v1/feeds/tiny:a/items/%2E%2e", ``, nil, 400, "bad_key", "path step"},
		{"key %2E%2E", "DELETE", "/v1/feeds/tiny:a/items/%2E%2E", ``, nil, 400, "bad_key", "path step"},
		{"long key", "PUT", "/v1/feeds/tiny:a/items/" + strings.Repeat("k", 257), `1`, nil, 400, "bad_key", "256"},
		{"empty key", "POST", changes, `{"changes":[{"key":"","value":1}]}`, nil, 400, "bad_key", "changes[0].key"},
		{"large value", "PUT", item, `"` + strings.Repeat("x", 63) + `"`, nil, 413, "value_too_large", "64"},
		{"very large value", "PUT", item, `"` + strings.Repeat("x", 5000) + `"`, nil, 413, "value_too_large", "64"},
		{"large value in a batch", "POST", changes, `{"changes":[{"key":"a","value":"` + strings.Repeat("x", 63) + `"}]}`, nil, 413, "value_too_large", "changes[0].value"},
		{"large batch", "POST", changes, batch(4), nil, 413, "batch_too_large", "3"},
		{"large body", "POST", changes, batch(1) + strings.Repeat(" ", 512), nil, 413, "too_large", "512"},
		{"empty batch", "POST", changes, `{"changes":[]}`, nil, 400, "bad_body", "1 to 3"},
		{"no batch", "POST", changes, `{}`, nil, 400, "bad_body", "changes"},
		{"wrong content type", "POST", changes, batch(1), header{"Content-Type": "text/plain"}, 415, "unsupported_media_type", "application/json"},
		{"form", "PUT", item, `1`, header{"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "application/json"},
		{"no content type", "PUT", item, `1`, header{"Content-Type": ""}, 415, "unsupported_media_type", "missing"},
		{"other charset", "PUT", item, `1`, header{"Content-Type": "application/json; charset=latin1"}, 415, "unsupported_media_type", "UTF-8"},
		{"compressed", "PUT", item, `1`, header{"Content-Encoding": "gzip"}, 415, "unsupported_media_type", "encoded"},
		{"two since", "GET", changes + "?since=1&since=1", ``, nil, 400, "repeated_parameter", "since"},
		{"limit 0", "GET", changes + "?limit=0", ``, nil, 400, "bad_limit", "1 to 10000"},
		{"limit 10001", "GET", "/v1/feeds/tiny:a?limit=10001", ``, nil, 400, "bad_limit", "1 to 10000"},
		{"bad since", "GET", changes + "?since=abc", ``, nil, 400, "bad_cursor", "<epoch>-<seq>"},
		{"bad at_least", "GET", changes + "?at_least=abc", ``, nil, 400, "bad_cursor", "at_least"},
		{"wrong method", "PATCH", item, `1`, nil, 405, "method_not_allowed", "PUT"},
		{"wrong method", "POST", "/v1/feeds/tiny:a", ``, nil, 405, "method_not_allowed", "GET"},
		{"wrong method", "GET", "/v1/feeds/tiny:a/touch", ``, nil, 405, "method_not_allowed", "POST"},
		{"made-up method", "BREW", changes, ``, nil, 405, "method_not_allowed", "POST"},
		{"no route", "GET", "/", ``, nil, 404, "not_found", ""},
		{"no route", "GET", "/v1", ``, nil, 404, "not_found", ""},
		{"slash at the end", "GET", "/v1/feeds/tiny:a/", ``, nil, 404, "not_found", "%2F"},
		{"slash at the end", "POST", "/v1/feeds/tiny:a/changes/", batch(1), nil, 404, "not_found", ""},
		{"no key", "PUT", "/v1/feeds/tiny:a/items/", `1`, nil, 404, "not_found", ""},
		{"slash in a key", "PUT", "/v1/feeds/tiny:a/items/a/b", `1`, nil, 404, "not_found", "%2F"},
		{"two slashes", "GET", "/v1//feeds/tiny:a", ``, nil, 404, "not_found", ""},
		{"case", "GET", "/V1/Feeds/tiny:a", ``, nil, 404, "not_found", ""},
		{"dots", "GET", "/v1/feeds/x/../tiny:a", ``, nil, 404, "not_found", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := *h
			h.T = t
			before := h.head("tiny:a")
			a := h.do(tc.method, tc.target, tc.body, w, tc.header)
			h.wantProblem(a, tc.status, tc.code)
			if !strings.Contains(a.body, tc.says) {
				t.Errorf("doesn't say %q: %s", tc.says, a.body)
			}
			if (a.Header.Get("Allow") != "") != (tc.status == 405) || a.Header.Get("Location") != "" {
				t.Errorf("Allow %q, Location %q", a.Header.Get("Allow"), a.Header.Get("Location"))
			}
			if h.head("tiny:a") != before {
				t.Error("something was written")
			}
		})
	}
	a := h.do("PATCH", item, "")
	h.wantHeader(a, "Allow", "DELETE, GET, HEAD, OPTIONS, PUT")
	// Just within the limits.
	h.write("PUT", item, "  "+`"`+strings.Repeat("x", 62)+`"`+strings.Repeat("\n", 900))
	h.write("POST", changes, batch(3))
	h.write("PUT", item, "1", header{"Content-Type": `application/json; charset="UTF-8"`})
	h.write("PUT", "/v1/feeds/pub:deep/items/a", nested(64))
	h.wantProblem(h.do("PUT", "/v1/feeds/pub:deep/items/a", nested(65), w), 400, "too_deep")
	h.wantProblem(h.do("PUT", "/v1/feeds/pub:deep/items/a", nested(100_000), w), 400, "too_deep")
}

// TestPathsOverTheWire: what a server makes of request lines that no client library would send.
func TestPathsOverTheWire(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	server := httptest.NewServer(h.api.Handler())
	defer server.Close()
	for line, want := range map[string]string{
		"GET /v1/feeds/pub:a/items/one HTTP/1.1":    "200",
		"GET /v1/feeds/pub:a/items/.. HTTP/1.1":     "400",
		"GET /v1/feeds/pub:a/items/%2e%2e HTTP/1.1": "400",
		"GET /v1/feeds/pub:a/items/../one HTTP/1.1": "404",
		"GET //v1/feeds/pub:a HTTP/1.1":             "404",
		"GET /v1/feeds/./pub:a HTTP/1.1":            "404",
		"GET /v1/feeds/pub:a/items/%zz HTTP/1.1":    "400",
		"OPTIONS * HTTP/1.1":                        "200", // net/http's own
		"GET /v1/feeds/pub:a/items/a%2fb HTTP/1.1":  "404",
		"GET http://x/v1/feeds/pub:a HTTP/1.1":      "200",
		"DELETE /v1/feeds/pub:a/items/%2E HTTP/1.1": "401",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, line+"\r\nHost: x\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Error(err)
		}
		_ = res.Body.Close()
		_ = conn.Close()
		if !strings.HasPrefix(res.Status, want) {
			t.Errorf("%s: %s; want %s", line, res.Status, want)
		}
	}
}

// TestSlowBodies are cut off, wanted or not.
func TestSlowBodies(t *testing.T) {
	const allowed = 100 * time.Millisecond
	h := newHarness(t, func(o *api.Options) { o.BodyTimeout = allowed })
	server := httptest.NewServer(h.api.Handler())
	defer server.Close()
	for name, tc := range map[string]struct{ token, status string }{
		"wanted":   {writerToken, "408"},
		"unwanted": {"nonsense-0123456789", "401"},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprintf(conn, "PUT /v1/feeds/pub:a/items/one HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n\"slow", tc.token)
		all, err := io.ReadAll(conn) // ends when the server closes
		_ = conn.Close()
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 "+tc.status) {
			t.Errorf("%s: %q, %v", name, all, err)
		}
	}
	if !h.head("pub:a").IsZero() {
		t.Error("it was written")
	}
	// A connection whose bodies come in time lives on beyond the timeout.
	client := server.Client()
	defer client.CloseIdleConnections()
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/v1/feeds/pub:a/items/one", strings.NewReader("1"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+writerToken)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s", res.Status)
		}
	}
}

// TestOversizeBodyWithoutLength: the limit holds for what comes in pieces, too.
func TestOversizeBodyWithoutLength(t *testing.T) {
	h := newHarness(t)
	for name, target := range map[string]string{"value_too_large": "/v1/feeds/tiny:a/items/one", "too_large": "/v1/feeds/tiny:a/changes"} {
		method := map[bool]string{true: "PUT", false: "POST"}[strings.Contains(target, "items")]
		req := h.request(method, target, "x", bearer(writerToken))
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", 1<<20))), -1
		h.wantProblem(h.send(req), 413, name)
	}
	if !h.head("tiny:a").IsZero() {
		t.Error("it was written")
	}
}
