package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway"
)

// source is a client of events.
type source struct {
	t        testing.TB
	response *http.Response
	lines    *bufio.Reader
	cancel   context.CancelFunc
	retry    string
}

// web is a way to reach the gateway over HTTP.
type web struct {
	name   string
	url    string
	client *http.Client
}

// webs are the ways on which events are written: over HTTP/1.1, plain and in TLS, and over HTTP/2.
func (h *harness) webs() []web {
	h.t.Helper()
	var all []web
	for _, name := range []string{"HTTP/1.1", "TLS", "HTTP/2"} {
		server := httptest.NewUnstartedServer(h.Handler())
		server.EnableHTTP2 = name == "HTTP/2"
		// The host has such times, too. They are not for events.
		server.Config.ReadTimeout, server.Config.WriteTimeout = time.Second, time.Second
		if name == "HTTP/1.1" {
			server.Start()
		} else {
			server.StartTLS()
		}
		h.t.Cleanup(server.Close)
		h.t.Cleanup(h.Close) // before it: Close waits for requests
		if name == "TLS" {
			server.TLS.NextProtos = []string{"http/1.1"}
			server.Client().Transport.(*http.Transport).TLSClientConfig.NextProtos = nil
			server.Client().Transport.(*http.Transport).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		all = append(all, web{name, server.URL, server.Client()})
	}
	return all
}

// ask asks for events, whatever the answer.
func (h *harness) ask(w web, query string, header http.Header) *source {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+gateway.Path+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	r.Header.Set("Accept", "text/html;q=0.1, Text/Event-Stream; q=1")
	response, err := w.client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cancel()
		_ = response.Body.Close()
	})
	return &source{t: h.t, response: response, lines: bufio.NewReader(response.Body), cancel: cancel}
}

// listen asks for events of the feeds, and reads the hello.
func (h *harness) listen(w web, token string, feeds ...string) *source {
	h.t.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	s := h.ask(w, "?feed="+strings.Join(feeds, "&feed="), header)
	if s.response.StatusCode != http.StatusOK {
		h.t.Fatalf("status %s", s.response.Status)
	}
	if name, data := s.next(); name != "hello" || !strings.HasPrefix(data, `{"hello":{"session":"s-`) {
		h.t.Fatalf("the first event is %s: %s", name, data)
	}
	return s
}

// next reads an event; "" is the end.
func (s *source) next() (name, data string) {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return "", ""
		}
		if err != nil {
			s.t.Fatalf("after %q: %v", line, err)
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && name != "":
			return name, data
		case field == "event":
			name = value
		case field == "data":
			data = value
		case field == "retry":
			s.retry = value
		case line != "" && !strings.HasPrefix(line, ":"):
			s.t.Fatalf("the line %q", line)
		}
	}
}

// expect wants messages as a WebSocket would have them, each in an event of its member's name.
func (s *source) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		name, data := s.next()
		if data != w || !strings.HasPrefix(data, `{"`+name+`":`) {
			s.t.Fatalf("got  %s: %s\nwant %s", name, data, w)
		}
	}
}

// expectEnd wants the code in a last event, and the end after it.
func (s *source) expectEnd(code int) {
	s.t.Helper()
	for {
		name, data := s.next()
		var m struct{ Close struct{ Code int } }
		switch {
		case name == "":
			s.t.Fatalf("the end came without a word; want %d", code)
		case name != "close":
			s.t.Logf("before the end: %.200s", data)
			continue
		case json.Unmarshal([]byte(data), &m) != nil || m.Close.Code != code:
			s.t.Fatalf("it ends with %s; want %d", data, code)
		}
		if name, data = s.next(); name != "" {
			s.t.Fatalf("after the end: %s", data)
		}
		return
	}
}

// expectProblem wants a refusal.
func (s *source) expectProblem(status int, code string, words ...string) {
	s.t.Helper()
	body, _ := io.ReadAll(s.lines)
	var p struct{ Code, Detail string }
	if err := json.Unmarshal(body, &p); err != nil || s.response.StatusCode != status || p.Code != code {
		s.t.Errorf("got %s %s, %v; want %d %s", s.response.Status, body, err, status, code)
	}
	if kind := s.response.Header.Get("Content-Type"); kind != "application/problem+json" {
		s.t.Errorf("the problem is %s", kind)
	}
	for _, w := range words {
		if !strings.Contains(p.Detail, w) {
			s.t.Errorf("the detail %q doesn't say %q", p.Detail, w)
		}
	}
}
