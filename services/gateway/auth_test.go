package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

//nolint:tparallel // the parts share a gateway
func TestTokens(t *testing.T) {
	t.Parallel()
	t.Run("json", func(t *testing.T) { tokens(t, (*harness).dial) })
	t.Run("proto", func(t *testing.T) { tokens(t, (*harness).dialBinary) })
}

func tokens(t *testing.T, dial func(*harness, string) *client) {
	h := start(t)
	t.Run("a token decides what may be read", func(t *testing.T) {
		c := dial(h, alice)
		c.send(`{"subscribe":{"inbox:7429":"","room:a:b":"","inbox:8":"","prices:a":""}}`)
		c.expect(`{"subscribed":{"inbox:7429":null,"room:a:b":null,"prices:a":null},"denied":{"inbox:8":"forbidden"}}`)
	})
	t.Run("an invalid token is told by a close code", func(t *testing.T) {
		for _, header := range []http.Header{
			{"Authorization": {"Bearer wrong-0123456789"}},
			{"Authorization": {"bearer wrong-0123456789"}},
			{"Sec-Websocket-Protocol": {"doorbell.v1.json, bearer.wrong-0123456789"}},
		} {
			c := h.open(header)
			c.expectClose(4001)
		}
	})
	t.Run("of two different tokens none counts", func(t *testing.T) {
		for _, header := range []http.Header{
			{"Authorization": {"Bearer " + alice}, "Sec-Websocket-Protocol": {"doorbell.v1.json, bearer." + bob}},
			{"Authorization": {"Bearer " + alice, "Bearer " + aliceLess}},
			{"Authorization": {"Bearer wrong-0123456789"}, "Sec-Websocket-Protocol": {"bearer." + alice}},
			{"Sec-Websocket-Protocol": {"doorbell.v1.json, bearer." + alice + ", bearer." + bob}},
		} {
			c := h.open(header)
			if reason := c.expectClose(4003); !strings.Contains(reason, "two different tokens") {
				t.Errorf("the reason is %q", reason)
			}
		}
		same := h.open(http.Header{"Authorization": {"Bearer " + alice}, "Sec-Websocket-Protocol": {"doorbell.v1.json, bearer." + alice}})
		same.hello()
		same.send(`{"subscribe":{"inbox:7429":""}}`)
		same.expect(`{"subscribed":{"inbox:7429":null}}`)
		_ = same.Close()
	})
	t.Run("another scheme is not a token of ours", func(t *testing.T) {
		c := h.open(http.Header{"Authorization": {"Basic eDp5"}})
		c.hello()
	})
	t.Run("the first auth names the subject", func(t *testing.T) {
		c := dial(h, "")
		c.send(`{"id":1,"subscribe":{"inbox:7429":""}}`)
		c.expect(`{"id":1,"subscribed":{},"denied":{"inbox:7429":"forbidden"}}`)
		c.send(`{"id":2,"auth":"` + alice + `"}`)
		c.expect(`{"id":2,"denied":{}}`)
		c.send(`{"id":3,"subscribe":{"inbox:7429":""}}`)
		c.expect(`{"id":3,"subscribed":{"inbox:7429":null}}`)
		c.send(`{"auth":"` + alice + `"}`) // nothing to say
		c.expectNothing(h)
	})
	t.Run("what a new token no longer allows is denied and unsubscribed", func(t *testing.T) {
		c := dial(h, alice)
		c.send(`{"subscribe":{"inbox:7429":"","room:1":"","prices:a":""}}`)
		c.next()
		c.send(`{"auth":"` + aliceLess + `"}`)
		c.expect(`{"denied":{"inbox:7429":"forbidden"}}`)
		h.publish("inbox:7429", 1)
		c.expectNothing(h)
		h.publish("room:1", 1)
		c.expect(`{"changed":{"room:1":` + at(1) + `}}`)
		c.send(`{"id":1,"subscribe":{"inbox:7429":""}}`)
		c.expect(`{"id":1,"subscribed":{},"denied":{"inbox:7429":"forbidden"}}`)
	})
	t.Run("another subject is refused, and nothing changes", func(t *testing.T) {
		c := dial(h, alice)
		c.send(`{"id":4,"auth":"` + bob + `"}`)
		c.expectError("4", "forbidden", "subject")
		c.send(`{"subscribe":{"inbox:7429":"","inbox:8":""}}`)
		if got := c.next(); !strings.Contains(got, `"denied":{"inbox:8":"forbidden"}`) {
			t.Error(got)
		}
	})
	t.Run("an invalid token by command closes as well", func(t *testing.T) {
		c := dial(h, alice)
		c.send(`{"id":4,"auth":"wrong-0123456789"}`)
		c.expectClose(4001)
	})
	t.Run("a token that can't be weighed changes nothing", func(t *testing.T) {
		c := dial(h, alice)
		c.send(`{"id":4,"auth":"` + stuck + `"}`)
		c.expectError("4", "unavailable", "still holds")
		c.send(`{"subscribe":{"inbox:7429":""}}`)
		c.next()
		h.open(http.Header{"Authorization": {"Bearer " + stuck}}).expectClose(1011)
	})
	for _, secret := range []string{alice, aliceLess, bob, stuck, "wrong-0123456789"} {
		if strings.Contains(h.logs.String(), secret) {
			t.Error("a token is in the log")
		}
	}
}

// TestWhoCanNotBeWeighedRightNow is to come back.
func TestWhoCanNotBeWeighedRightNow(t *testing.T) {
	t.Parallel()
	h := start(t)
	webs := h.webs()
	h.open(http.Header{"Authorization": {"Bearer " + away}}).expectClose(1012)
	for _, w := range webs {
		s := h.ask(w, "?feed=prices:a", http.Header{"Authorization": {"Bearer " + away}})
		s.expectProblem(http.StatusServiceUnavailable, "draining", "weighed")
		if s.response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: there is no Retry-After", w.name)
		}
	}
	if strings.Contains(h.logs.String(), away) {
		t.Error("a token is in the log")
	}
}

func TestManyDeniedAreToldInSmallFrames(t *testing.T) {
	t.Parallel()
	all := make([]string, 1500)
	var first, second strings.Builder
	for i := range all {
		all[i] = fmt.Sprintf("room:%d:%s", i, strings.Repeat("z", 90))
		b := &first
		if i >= 500 {
			b = &second
		}
		if i%500 != 0 || i == 1000 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `"%s":""`, all[i])
	}
	k, err := auth.NewKeys([]auth.Key{
		{Name: "carol", Secret: "carol-secret-0123456789", Read: []string{"*"}},
		{Name: "carol", Secret: "carol-nothing-0123456789"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, func(o *gateway.Options) { o.Auth = k })
	c := h.dial("carol-secret-0123456789")
	half := second.Len() / 2
	cut := half + strings.IndexByte(second.String()[half:], ',')
	for _, part := range []string{first.String(), second.String()[:cut], second.String()[cut+1:]} {
		c.send(`{"subscribe":{` + part + `}}`)
		c.next()
	}
	c.send(`{"id":1,"auth":"carol-nothing-0123456789"}`)
	for told := 0; ; {
		text := c.next()
		told += strings.Count(text, "forbidden")
		if len(text) > 64<<10 {
			t.Fatalf("a frame of %d bytes", len(text))
		}
		if strings.HasPrefix(text, `{"id":1,`) {
			if told != len(all) {
				t.Errorf("%d are denied, want %d", told, len(all))
			}
			return
		}
	}
}

func TestWithoutAuthenticatorNoTokenIsValid(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Auth = nil })
	h.open(http.Header{"Authorization": {"Bearer " + alice}}).expectClose(4001)
	c := h.dial("")
	c.send(`{"subscribe":{"prices:a":"","room:1":""}}`)
	c.expect(`{"subscribed":{"prices:a":null},"denied":{"room:1":"forbidden"}}`)
}

// TestPanicsStayInTheirConnection: at the handshake and in a command.
func TestPanicsStayInTheirConnection(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, nil)
	other := h.dial("")
	other.send(`{"subscribe":{"prices:a":""}}`)
	other.next()

	h.open(http.Header{"Authorization": {"Bearer " + panics}}).expectClose(1011)
	c := h.dial("")
	c.send(`{"subscribe":{"prices:a":""}}`)
	c.next()
	c.send(`{"auth":"` + panics + `"}`)
	c.expectClose(1011)
	if got := h.logs.String(); strings.Count(got, "the authenticator panics") < 2 || !strings.Contains(got, "stack=") {
		t.Error("the panics are not in the log")
	}
	if n := value(t, metrics, "panics_total", ""); n != 2 {
		t.Errorf("%v panics are counted", n)
	}
	for _, w := range h.webs() {
		h.ask(w, "?feed=prices:a", http.Header{"Authorization": {"Bearer " + panics}}).expectProblem(500, "internal")
	}
	if n := value(t, metrics, "panics_total", ""); n != float64(2+len(h.webs())) {
		t.Errorf("with those of events, %v panics are counted", n)
	}
	h.publish("prices:a", 1)
	other.expect(`{"changed":{"prices:a":` + at(1) + `}}`)
}
