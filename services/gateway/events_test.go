package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth/guard"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// TestEvents: whoever listens is told what a WebSocket is told, in the same words, on every kind of connection.
func TestEvents(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.RetryMin, o.Timings.RetryMax = time.Millisecond, time.Millisecond })
	h.publish("prices:a", 3)
	h.publish("prices:b", -1)
	socket, binary := h.dial(alice), h.dialBinary(alice)
	for _, c := range []*client{socket, binary} {
		c.send(`{"subscribe":{"prices:a":"","prices:b":"","inbox:7429":"","inbox:8":""}}`)
	}
	var all []*source
	for _, w := range h.webs() {
		s := h.listen(w, alice, "prices:a", "prices:b", "inbox:7429", "prices:a", "inbox:8")
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Origin",
		} {
			if got := s.response.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", w.name, name, got)
			}
		}
		if major := s.response.ProtoMajor; (major == 2) != (w.name == "HTTP/2") {
			t.Errorf("%s: HTTP/%d", w.name, major)
		}
		if ms, err := strconv.Atoi(s.retry); err != nil || ms < 1000 || ms > 5000 {
			t.Errorf("%s: retry is %q", w.name, s.retry)
		}
		all = append(all, s)
	}
	expect := func(want ...string) {
		t.Helper()
		for _, s := range all {
			s.expect(want...)
		}
		socket.expect(want...)
		binary.expect(want...)
	}
	expect(`{"subscribed":{"prices:a":` + at(3) + `,"prices:b":"","inbox:7429":null},"denied":{"inbox:8":"forbidden"}}`)
	h.publish("prices:a", 4)
	expect(`{"changed":{"prices:a":` + at(4) + `}}`)
	h.publish("prices:a", 2)
	h.publish("prices:b", 1)
	expect(`{"changed":{"prices:b":` + at(1) + `}}`)
	expect(`{"changed":{"prices:a":` + h.publishIn(1_000_000_001, "prices:a", 0) + `}}`)
	h.bus.Interrupt()
	expect(`{"degraded":true}`)
	h.bus.Resume()
	expect(`{"degraded":false}`)
	h.publish("inbox:7429", 7)
	expect(`{"changed":{"inbox:7429":` + at(7) + `}}`)
	if n := h.Status().Connections; n != 5 {
		t.Errorf("%d connections", n)
	}

	all[0].cancel()
	h.eventually("one has left", func() bool { return h.Status().Connections == 4 })
	all[2].cancel()
	h.eventually("another one has left", func() bool { return h.Status().Connections == 3 })

	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	all[1].expectEnd(1012)
	socket.expectClose(1012)
	binary.expectClose(1012)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestEventsEndWithAWord(t *testing.T) {
	t.Parallel()
	h := start(t)
	webs := h.webs()
	var all []*source
	for _, w := range webs {
		all = append(all, h.listen(w, "", "prices:a"))
	}
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	for _, s := range all {
		s.expect(`{"subscribed":{"prices:a":null}}`)
		s.expectEnd(1012)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for _, w := range webs {
		s := h.ask(w, "?feed=prices:a", nil)
		s.expectProblem(http.StatusServiceUnavailable, "draining")
		if s.response.Header.Get("Retry-After") == "" {
			t.Error("a draining gateway doesn't say when to come back")
		}
	}
}

// TestEventsAreRefusedByStatus, before the answer begins.
func TestEventsAreRefusedByStatus(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.AllowedOrigins = []string{"https://app.example.com"} })
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	many := "?feed=prices:a" + strings.Repeat("&feed=prices:a", 2000) // the same one is no more than one
	for _, w := range h.webs() {
		h.ask(w, "?feed=prices:a", bearer("wrong-0123456789")).expectProblem(401, "unauthorized", "not valid")
		h.ask(w, "?feed=prices:a", bearer(stuck)).expectProblem(500, "internal")
		h.ask(w, "?feed=prices:a", bearer(panics)).expectProblem(500, "internal")
		h.ask(w, "?feed=prices:a", http.Header{"Origin": {"https://evil.example.com"}}).expectProblem(403, "origin_not_allowed")
		h.ask(w, "", nil).expectProblem(400, "no_feeds", "1000")
		h.ask(w, "?feed=", nil).expectProblem(400, "bad_feed", "empty")
		h.ask(w, "?feed=prices:a&feed=Bad%20Name", nil).expectProblem(400, "bad_feed", "Bad Name", "[a-z]")
		h.ask(w, "?feed=prices:a&access_token="+alice, nil).expectProblem(400, "token_in_url", "access_token", "Authorization")
		h.ask(w, "?feed=prices:a", http.Header{"Authorization": {"Bearer " + alice, "Bearer " + bob}}).expectProblem(400, "two_tokens", "allowed: one")
		h.ask(w, "?feed=prices:a", http.Header{"Authorization": {"Bearer " + alice}, "Sec-Websocket-Protocol": {"bearer." + bob}}).
			expectProblem(400, "two_tokens", "allowed: one")
		h.ask(w, "?feed=%zz", nil).expectProblem(400, "bad_query")
		if s := h.ask(w, many, nil); s.response.StatusCode != http.StatusOK {
			t.Errorf("the same feed 2,001 times: %s", s.response.Status)
		}
		var b strings.Builder
		for i := range 1001 {
			fmt.Fprintf(&b, "&feed=a:%d", i)
		}
		h.ask(w, "?"+b.String()[1:], nil).expectProblem(400, "too_many_feeds", "1000")
		s := h.ask(w, "?feed=prices:a", http.Header{"Authorization": {"Bearer wrong-0123456789"}, "Origin": {"https://app.example.com"}})
		s.expectProblem(401, "unauthorized")
		if s.response.Header.Get("Access-Control-Allow-Origin") == "" || s.response.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: the page can't read why: %v", w.name, s.response.Header)
		}
	}
	logged := h.logs.String()
	if strings.Contains(logged, alice) || strings.Contains(logged, "wrong-0123456789") {
		t.Error("a token is in the log")
	}
	if !strings.Contains(logged, "https://evil.example.com") || !strings.Contains(logged, "the authenticator panics") {
		t.Error("the log doesn't tell of the origin, or of the panic")
	}
}

func TestPagesOfOtherOriginsAndMethods(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.AllowedOrigins = []string{"https://app.example.com"} })
	w := h.webs()[0]
	s := h.ask(w, "?feed=prices:a", http.Header{"Origin": {"https://app.example.com"}})
	if got := s.response.Header.Get("Access-Control-Allow-Origin"); s.response.StatusCode != http.StatusOK || got != "https://app.example.com" {
		t.Errorf("%s, allowed: %q", s.response.Status, got)
	}
	ask := func(method, origin string, accept bool) *http.Response {
		r, err := http.NewRequest(method, w.url+gateway.Path+"?feed=prices:a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			r.Header.Set("Origin", origin)
			r.Header.Set("Access-Control-Request-Method", "GET")
			r.Header.Set("Access-Control-Request-Headers", "authorization")
		}
		if accept {
			r.Header.Set("Accept", "text/event-stream")
		}
		response, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response
	}
	for _, tc := range []struct {
		method, origin string
		accept         bool
		status         int
		header, want   string
	}{
		{"OPTIONS", "https://app.example.com", false, 204, "Access-Control-Allow-Headers", "Authorization, Cache-Control, Last-Event-ID"},
		{"OPTIONS", "https://app.example.com", false, 204, "Access-Control-Allow-Origin", "https://app.example.com"},
		{"OPTIONS", "https://evil.example.com", false, 403, "Access-Control-Allow-Origin", ""},
		{"OPTIONS", "", false, 204, "Allow", "GET, OPTIONS"},
		{"HEAD", "", true, 405, "Allow", "GET, OPTIONS"},
		{"POST", "", true, 405, "Allow", "GET, OPTIONS"},
		{"GET", "", false, 426, "Upgrade", "websocket"},
	} {
		if r := ask(tc.method, tc.origin, tc.accept); r.StatusCode != tc.status || r.Header.Get(tc.header) != tc.want {
			t.Errorf("%s from %q: %s, %s: %q", tc.method, tc.origin, r.Status, tc.header, r.Header.Get(tc.header))
		}
	}
}

// TestEventsEndWithTheToken, and not with any time of the server's, nor with the stall, while there is nothing to write.
func TestEventsEndWithTheToken(t *testing.T) {
	t.Parallel()
	var g *guard.Guard
	h := start(t, withTokens(t, &g, nil), func(o *gateway.Options) { o.Timings.Stall = time.Second })
	var all []*source
	for _, w := range h.webs() {
		all = append(all, h.listen(w, token(t, "ann", 3*time.Second, "inbox:*"), "inbox:1"))
	}
	for _, s := range all {
		s.expect(`{"subscribed":{"inbox:1":null}}`)
		if name, data := s.next(); name != "expiring" {
			t.Fatalf("got %s; want expiring", data)
		}
		s.expectEnd(4001)
	}
	one := h.listen(h.webs()[0], token(t, "ann", time.Hour, "inbox:*"), "inbox:1")
	if n := h.Disconnect("ann", true, `go "away"`); n != 1 {
		t.Errorf("%d were ended", n)
	}
	one.expectEnd(4003)
}

// TestStuckListener: as TestStuckReader. A listener that doesn't read loses versions, never the last.
func TestStuckListener(t *testing.T) {
	t.Parallel()
	h := start(t)
	server := httptest.NewUnstartedServer(h.Handler())
	server.Listener = smallListener{server.Listener}
	server.Start()
	defer server.Close()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(16 << 10)
		}
		return conn, err
	}}
	const feeds, last = 200, 50
	names := make([]string, feeds)
	for i := range names {
		names[i] = fmt.Sprintf("orders:%d", i)
	}
	s := h.listen(web{"small", server.URL, &http.Client{Transport: transport}}, "", names...)
	s.next()
	other := h.listen(h.webs()[0], "", "orders:0")
	other.next()
	for n := int64(1); n <= last; n++ {
		for _, name := range names {
			h.publish(feed.Name(name), n)
		}
		other.next() // hears of it meanwhile
	}
	heads := map[feed.Name]int64{}
	total := 0
	for done := 0; done < feeds; {
		_, data := s.next()
		total += len(data)
		var m message
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			t.Fatal(err)
		}
		for name, head := range m.Changed {
			seq := parseHead(t, head).Seq
			if seq <= heads[name] {
				t.Fatalf("%s: %d after %d", name, seq, heads[name])
			}
			if heads[name] = seq; seq == last {
				done++
			}
		}
	}
	if total > 200<<10 {
		t.Errorf("%d bytes: nothing was left out", total)
	}
	s.cancel()
	other.cancel()
	h.eventually("both are gone", func() bool { return h.Status().Connections == 0 })
}

// TestDeadListeners: who accepts no byte for the stall is dropped, by us or by the kernel, which counts from another moment.
func TestDeadListeners(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.Stall = 300 * time.Millisecond })
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("orders:%d:%s", i, strings.Repeat("x", 110)))
	}
	for _, w := range h.webs() {
		h.listen(w, "", names...)
	}
	for n := int64(1); h.Status().Connections > 0; n++ { // until all buffers on the way are full
		for _, name := range names {
			h.publish(feed.Name(name), n)
		}
		if n == 5000 {
			t.Fatalf("%d are still there", h.Status().Connections)
		}
	}
}

// TestNoisyListener: what a peer sends after its request is not kept, and not without an end.
func TestNoisyListener(t *testing.T) {
	t.Parallel()
	h := start(t)
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("GET /v1/signals?feed=prices:a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\nmore"))
	h.eventually("it is served", func() bool { return h.Status().Connections == 1 })
	_, _ = conn.Write(bytes.Repeat([]byte("x"), 32<<10))
	h.publish("prices:a", 1)
	if h.Status().Connections != 1 {
		t.Error("it was dropped at once")
	}
	for h.Status().Connections == 1 {
		if _, err := conn.Write(bytes.Repeat([]byte("x"), 1<<10)); err != nil {
			break
		}
	}
	h.eventually("it is dropped", func() bool { return h.Status().Connections == 0 })
}
