package lines_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/httphost/lines"
)

var fields = http.Header{
	"Cache-Control": {"public, max-age=3600, immutable"}, "Etag": {`W/"0k3f9xa-1043"`}, "Vary": {"Accept-Encoding", "Origin"},
}

// serve answers with the fields as lines where that can be, else in the map; X-Lines says which.
func serve(t *testing.T) *httptest.Server {
	t.Helper()
	prepared := lines.Of(fields)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch {
		case r.URL.Path == "/plain":
		case lines.Send(r, prepared):
			h.Set("X-Lines", "true")
		default:
			maps.Copy(h, fields)
		}
		var n int
		_, _ = fmt.Sscan(r.URL.RawQuery, &n)
		if n == 0 {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "text/plain")
		h.Set("Content-Length", fmt.Sprint(n))
		_, _ = w.Write(bytes.Repeat([]byte("x"), n))
	}))
	s.Listener = lines.Listener(s.Listener)
	s.Config.ConnContext = lines.Context
	return s
}

// check compares an answer with what it has to be.
func check(t *testing.T, what string, res *http.Response, n int, asLines, plain bool) {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	want := n
	if res.Request != nil && res.Request.Method == http.MethodHead {
		want = 0
	}
	if err != nil || len(body) != want {
		t.Errorf("%s: %d bytes, %v; want %d", what, len(body), err, want)
	}
	if got := res.Header.Get("X-Lines") != ""; got != asLines {
		t.Errorf("%s: sent as lines: %t; want %t", what, got, asLines)
	}
	for name, values := range fields {
		if got := res.Header[name]; plain && got != nil || !plain && !reflect.DeepEqual(got, values) {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	if res.Header.Get("Date") == "" {
		t.Errorf("%s: net/http's own fields are missing: %v", what, res.Header)
	}
}

// TestLinesGoWithTheirAnswer alone, whatever is asked before and after on the same connection, and however large it is.
func TestLinesGoWithTheirAnswer(t *testing.T) {
	s := serve(t)
	s.Start()
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	type request struct {
		method, target, proto, more string
		n                           int
		asLines                     bool
	}
	var all []request
	var text strings.Builder
	for _, n := range []int{0, 1, 500, 2000, 2048, 3500, 4096, 5000, 9000, 200_000} {
		all = append(all,
			request{"GET", "/lines", "1.1", "", n, true}, request{"GET", "/plain", "1.1", "", n, false},
			request{"HEAD", "/lines", "1.1", "", n, true},
			request{"POST", "/lines", "1.1", "Content-Length: 1\r\n\r\nx", n, false},
			request{"POST", "/lines", "1.1", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", n, false},
			request{"GET", "/lines", "1.0", "Connection: keep-alive\r\n\r\n", n, true},
		)
	}
	for _, one := range all {
		more := one.more
		if more == "" {
			more = "\r\n"
		}
		fmt.Fprintf(&text, "%s %s?%d HTTP/%s\r\nHost: x\r\n%s", one.method, one.target, one.n, one.proto, more)
	}
	go func() { _, _ = io.WriteString(c, text.String()) }() // all at once
	r := bufio.NewReader(c)
	for _, one := range all {
		what := fmt.Sprint(one)
		res, err := http.ReadResponse(r, &http.Request{Method: one.method})
		if err != nil {
			t.Fatal(what, err)
		}
		check(t, what, res, one.n, one.asLines, one.target == "/plain")
	}
}

// TestLinesNeedAConnection of their own: over TLS and HTTP/2, and without the listener, the map does.
func TestLinesNeedAConnection(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := serve(t)
		s.EnableHTTP2 = h2
		s.StartTLS()
		res, err := s.Client().Get(s.URL + "/lines?5")
		if err != nil {
			t.Fatal(err)
		}
		if h2 != (res.ProtoMajor == 2) {
			t.Errorf("it was HTTP/%d", res.ProtoMajor)
		}
		check(t, res.Proto, res, 5, false, false)
		_ = res.Body.Close()
		s.Close()
	}
	if lines.Send(httptest.NewRequest(http.MethodGet, "/", nil), lines.Of(fields)) {
		t.Error("there is no connection, and it says that there is")
	}
}

// FuzzOf: whatever is asked for, what comes out is those fields or nothing.
func FuzzOf(f *testing.F) {
	f.Add("Etag", `W/"a-1"`, "Vary", "Origin")
	f.Add("A", "x\r\nSet-Cookie: a=b", "B", "")
	f.Add("A: b\r\nC", "x", "", "\x00")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		h := http.Header{name1: {value1}, name2: {value2}}
		l := lines.Of(h)
		if l == nil {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(io.MultiReader(
			strings.NewReader("HTTP/1.1 304 Not Modified\r\n"), bytes.NewReader(l), strings.NewReader("\r\n"))), nil)
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		want := http.Header{}
		for name, values := range h {
			want.Add(name, strings.TrimSpace(values[0]))
		}
		for name := range want {
			if !reflect.DeepEqual(len(res.Header[name]), len(want[name])) {
				t.Errorf("%q of %q", res.Header, h)
			}
		}
		if len(res.Header) != len(want) {
			t.Errorf("%q of %q", res.Header, h)
		}
	})
}
