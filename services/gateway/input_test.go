package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/services/gateway"
)

func TestBadCommandsChangeNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.dial("")
	c.send(`{"subscribe":{"prices:a":""}}`)
	c.expect(`{"subscribed":{"prices:a":null}}`)

	for _, tc := range []struct {
		name, send, id, code string
		words                []string
	}{
		{"not JSON", `{"id":1,"subscribe":{"prices:b":""},`, `1`, "bad_command", []string{"offset 36"}},
		{"empty", ``, "", "bad_command", []string{"empty", "offset 0"}},
		{"not an object", `[1]`, "", "bad_command", []string{"an array", "an object"}},
		{"two messages", `{"ping":1}{"ping":2}`, "", "bad_command", []string{"offset 10", "one object"}},
		{"unknown member", `{"id":7,"frobnicate":{"x":[1]}}`, `7`, "bad_command", []string{`"frobnicate"`, `"subscribe"`, `"ping"`}},
		{"id last", `{"frobnicate":1,"id":"late"}`, `"late"`, "bad_command", []string{"frobnicate"}},
		{"no command", `{"id":7}`, `7`, "bad_command", []string{"no command", `"subscribe"`}},
		{"two commands", `{"subscribe":{"prices:b":""},"unsubscribe":["prices:a"]}`, "", "bad_command", []string{"both", "one command"}},
		{"bad name", `{"id":1,"subscribe":{"prices:b":"","Bad Name":""}}`, `1`, "bad_command", []string{"Bad Name", "[a-z][a-z0-9_-]{0,31}"}},
		{"bad name to leave", `{"unsubscribe":["prices:a","prices:"]}`, "", "bad_command", []string{"empty part"}},
		{"bad cursor", `{"subscribe":{"prices:b":"0-1"}}`, "", "bad_command", []string{"cursor", "0k3f9xa-1042"}},
		{"cursor of another kind", `{"subscribe":{"prices:b":12}}`, "", "bad_command", []string{"a number", "null"}},
		{"list to subscribe", `{"subscribe":["prices:b"]}`, "", "bad_command", []string{"an array", "an object"}},
		{"object to leave", `{"unsubscribe":{"prices:a":""}}`, "", "bad_command", []string{"an object", "an array"}},
		{"number to leave", `{"unsubscribe":["prices:a",1]}`, "", "bad_command", []string{"a number"}},
		{"duplicate feed", `{"id":1,"subscribe":{"prices:b":"","prices:b":""}}`, `1`, "bad_command", []string{"prices:b", "twice"}},
		{"duplicate by escape", `{"id":1,"subscribe":{"prices:b":"","prices:\u0062":""}}`, `1`, "bad_command", []string{"twice"}},
		{"duplicate member", `{"ping":1,"ping":2}`, "", "bad_command", []string{"ping", "twice"}},
		{"not UTF-8", "{\"id\":1,\"subscribe\":{\"prices:\xff\":\"\"}}", `1`, "bad_command", []string{"UTF-8", "offset"}},
		{"NUL", "{\"ping\":1\x00}", "", "bad_command", []string{"offset 9"}},
		{"nested", `{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "", "bad_command", []string{"nested", "offset 12"}},
		{"id of another kind", `{"id":{"a":1},"ping":1}`, "", "bad_command", []string{`"id"`, "a number or a string"}},
		{"id too long", `{"id":"` + strings.Repeat("x", 63) + `","ping":1}`, "", "bad_command", []string{`"id"`, "64"}},
		{"ping of another kind", `{"ping":"1"}`, "", "bad_command", []string{`"ping"`, "a number"}},
		{"token of another kind", `{"auth":null}`, "", "bad_command", []string{`"auth"`, "a token"}},
		{"too many feeds", strings.Replace(subscribeTo(0, 1001), "{", `{"id":9,`, 1), `9`, "too_many_feeds", []string{"1000"}},
	} {
		c.send(tc.send)
		c.expectError(tc.id, tc.code, tc.words...)
		c.send(`{"ping":1}`) // ten malformed in a row would end the connection
		c.expect(`{"pong":1}`)
		if t.Failed() {
			t.Fatal("at: " + tc.name)
		}
	}
	if err := c.WriteMessage(websocket.BinaryMessage, []byte(`{"ping":1}`)); err != nil {
		t.Fatal(err)
	}
	c.expectError("", "bad_command", "binary", "text")

	h.publish("prices:b", 1)
	h.publish("orders:0", 1)
	c.expectNothing(h)
	h.publish("prices:a", 1)
	c.expect(`{"changed":{"prices:a":` + at(1) + `}}`)
}

func TestTenMalformedInARow(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.dial("")
	for range 9 {
		c.send(`{`)
		c.expectError("", "bad_command")
	}
	c.send(`{"ping":1}`)
	c.expect(`{"pong":1}`)
	for range 9 {
		c.send(`{"x":1}`)
		c.expectError("", "bad_command")
	}
	c.send(subscribeTo(0, 1001)) // well formed, only too large
	c.expectError("", "too_many_feeds")
	for range 10 {
		c.send(`{"subscribe":{"":""}}`)
	}
	c.expectClose(4009)
}

func TestOversizeFrames(t *testing.T) {
	t.Parallel()
	h := start(t)
	pad := func(n int) string { return `{"ping":1` + strings.Repeat(" ", n-10) + `}` }

	c := h.dial("")
	c.send(pad(64 << 10))
	c.expect(`{"pong":1}`)
	c.send(pad(64<<10 + 1))
	c.expectClose(4009)

	// In fragments, none of which is too large.
	c = h.dial("")
	w, err := c.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	for range 80 {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<10)); err != nil {
			break // closed already
		}
	}
	c.expectClose(4009)

	// Announced only: nobody waits for what the header promises.
	c = h.dial("")
	header := []byte{0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0}
	if _, err := c.NetConn().Write(append(header, bytes.Repeat([]byte(" "), 64<<10+1)...)); err != nil {
		t.Fatal(err)
	}
	c.expectClose(4009)
}

func TestTooManyFeedsOnAConnection(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Limits.Feeds = 2500 })
	c := h.dial("")
	for i := range 2 {
		c.send(subscribeTo(i*1000, 1000))
		c.next()
	}
	c.send(subscribeTo(2000, 501))
	c.expectError("", "too_many_feeds", "2500")
	h.publish("orders:2000", 1)
	c.expectNothing(h)
	c.send(subscribeTo(1500, 1000)) // half of them are followed already
	if got := c.next(); !strings.Contains(got, `"orders:2499":null`) {
		t.Fatalf("got %.100s", got)
	}
	c.send(`{"unsubscribe":["orders:7"]}`)
	c.send(`{"subscribe":{"orders:2500":""}}`)
	c.expect(`{"subscribed":{"orders:2500":null}}`)
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) {
		o.AllowedOrigins = []string{"https://app.example.com", "https://*.example.org", "http://localhost:5173", "capacitor://localhost"}
	})
	const own = "203.0.113.9:8443"
	for _, tc := range []struct {
		host, origin string
		ok           bool
	}{
		{own, "", true},
		{own, "https://203.0.113.9:8443", true},
		{own, "http://203.0.113.9:8443", true}, // TLS may end in front of us
		{own, "https://203.0.113.9", false},
		{"doorbell.example", "https://doorbell.example", true},
		{"doorbell.example", "https://doorbell.example:443", true},
		{"doorbell.example:443", "https://DOORBELL.example", true},
		{"doorbell.example:80", "http://doorbell.example", true},
		{"doorbell.example:80", "https://doorbell.example", false},
		{"[2001:db8::1]:8080", "http://[2001:DB8:0::1]:8080", true},
		{"doorbell.example", "https://doorbell.example.evil.example", false},
		{own, "https://app.example.com", true},
		{own, "https://app.example.com:443", true},
		{own, "https://app.example.com:8443", false},
		{own, "http://app.example.com", false},
		{own, "https://x.app.example.com", false},
		{own, "https://a.example.org", true},
		{own, "https://a.b.example.org", true},
		{own, "https://example.org", false},
		{own, "https://.example.org", false},
		{own, "https://evilexample.org", false},
		{own, "https://a.example.org.evil.example", false},
		{own, "http://localhost:5173", true},
		{own, "capacitor://localhost", true},
		{own, "null", false},
		{own, "https://app.example.com/", false},
		{own, "https://app.example.com@evil.example", false},
		{own, "https://evil.example, https://app.example.com", false},
		{own, "file://", false},
		{own, "%zz", false},
	} {
		header := http.Header{}
		if tc.origin != "" {
			header.Set("Origin", tc.origin)
		}
		header.Set("Host", tc.host)
		ws, response, err := websocket.DefaultDialer.Dial(h.url(), header)
		if ok := err == nil; ok != tc.ok {
			t.Errorf("origin %q at host %q: allowed %v, want %v", tc.origin, tc.host, ok, tc.ok)
		}
		if err == nil {
			_ = ws.Close()
			continue
		}
		if response.StatusCode != http.StatusForbidden || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("origin %q: refused with %s, %q", tc.origin, response.Status, response.Header.Get("Content-Type"))
		}
		if !strings.Contains(h.logs.String(), tc.origin) {
			t.Errorf("origin %q is not in the log", tc.origin)
		}
	}
	for _, bad := range []string{"*", "https://*", "example.com", "https://a.*.com", "https://app.example.com/", "https://example.com:"} {
		if _, err := gateway.New(gateway.Options{Bus: h.bus, AllowedOrigins: []string{bad}}); err == nil {
			t.Errorf("allowed origin %q is accepted", bad)
		}
	}
}

// TestRefusedOriginsDoNotFillTheLog: each handshake is counted, and the first of an origin is logged.
func TestRefusedOriginsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, nil)
	const times = 200
	for range times {
		_, response, err := websocket.DefaultDialer.Dial(h.url(), http.Header{"Origin": {"https://evil.example"}})
		if err == nil || response.StatusCode != http.StatusForbidden {
			t.Fatalf("got %v", err)
		}
	}
	if n := strings.Count(h.logs.String(), "evil.example"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if n := value(t, metrics, "handshakes_total", "origin_not_allowed"); n != times {
		t.Errorf("%v counted", n)
	}
}

func TestTwoOriginHeadersAreRefused(t *testing.T) {
	t.Parallel()
	h := start(t)
	own := "http://" + h.server.Listener.Addr().String()
	_, response, err := websocket.DefaultDialer.Dial(h.url(), http.Header{"Origin": {own, own}})
	if err == nil || response.StatusCode != http.StatusForbidden {
		t.Fatalf("got %v", err)
	}
}

func TestOtherRequests(t *testing.T) {
	t.Parallel()
	h := start(t)
	websocketHeaders := http.Header{
		"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"WebSocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	without := func(name, value string) http.Header {
		header := websocketHeaders.Clone()
		header.Set(name, value)
		return header
	}
	for _, tc := range []struct {
		method, path string
		header       http.Header
		status       int
		want         [2]string
	}{
		{"GET", "/v1/signals", nil, 426, [2]string{"Upgrade", "websocket"}},
		{"POST", "/v1/signals", nil, 405, [2]string{"Allow", "GET, OPTIONS"}},
		{"HEAD", "/v1/signals", nil, 405, [2]string{"Allow", "GET, OPTIONS"}},
		{"POST", "/v1/signals", websocketHeaders, 405, [2]string{"Allow", "GET, OPTIONS"}},
		{"GET", "/v1/signals/", websocketHeaders, 404, [2]string{"Cache-Control", "no-store"}},
		{"GET", "/v1/signals", without("Sec-Websocket-Version", "8"), 400, [2]string{"Sec-Websocket-Version", "13"}},
		{"GET", "/v1/signals", without("Sec-Websocket-Key", "short"), 400, [2]string{"Cache-Control", "no-store"}},
		// A recorder can't be hijacked.
		{"GET", "/v1/signals", websocketHeaders, 500, [2]string{"Cache-Control", "no-store"}},
	} {
		r := httptest.NewRequest(tc.method, tc.path, nil)
		if tc.header != nil {
			r.Header = tc.header.Clone()
		}
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, r)
		if w.Code != tc.status || w.Header().Get(tc.want[0]) != tc.want[1] || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %v %s", tc.method, tc.path, w.Code, w.Header(), w.Body)
		}
	}
}

// TestSilentPeers are over real sockets; the exact times are tested where the clock is fake.
//
//nolint:tparallel // one after the other: it is counted what is left
func TestSilentPeers(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) {
		o.Timings.PingEvery, o.Timings.PongWait = 40*time.Millisecond, time.Second
	})
	for name, act := range map[string]func(*client){
		"says nothing": func(*client) {},
		"begins a frame": func(c *client) {
			_, _ = c.NetConn().Write([]byte{0x81, 0x80 | 10, 1, 2})
		},
		"sends a byte now and then": func(c *client) {
			frame := append([]byte{0x81, 0x80 | 100, 0, 0, 0, 0}, bytes.Repeat([]byte("x"), 99)...)
			for _, b := range frame {
				if _, err := c.NetConn().Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial("")
			act(c)
			// Read below the library, which would answer pings.
			_ = c.NetConn().SetReadDeadline(time.Now().Add(patience))
			for {
				if _, err := c.NetConn().Read(make([]byte, 512)); err != nil {
					if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
						t.Fatal("the connection is still there")
					}
					break
				}
			}
			h.eventually("nothing is left of it", func() bool { return h.Status().Connections == 0 })
		})
	}
	c := h.dial("") // reading answers pings
	c.send(`{"subscribe":{"prices:a":""}}`)
	c.next()
	pings := make(chan struct{}, 100)
	answer := c.PingHandler()
	c.SetPingHandler(func(s string) error {
		pings <- struct{}{}
		return answer(s)
	})
	go func() {
		for range 5 {
			<-pings
		}
		_ = h.bus.Publish(t.Context(), "prices:a", cursor(5))
	}()
	c.expect(fmt.Sprintf(`{"changed":{"prices:a":%s}}`, at(5)))
}
