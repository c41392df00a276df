package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/auth/guard"
	"github.com/doorbell-sync/doorbell/pkg/auth/jwtauth"
	"github.com/doorbell-sync/doorbell/pkg/auth/revoked"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

var tokenKey = jwtauth.Key{ID: "k", Algorithm: "HS256", Secret: []byte(strings.Repeat("k", 32))}

func token(t testing.TB, subject string, ttl time.Duration, read ...string) string {
	t.Helper()
	text, err := jwtauth.Sign(tokenKey, jwtauth.Grant{Subject: subject, TTL: ttl, Scopes: auth.Scopes{Read: read}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// withTokens has a gateway take tokens that are signed with tokenKey. b carries revocations; nil: the gateway's own bus.
func withTokens(t testing.TB, g **guard.Guard, b *membus.Bus) func(*gateway.Options) {
	return func(o *gateway.Options) {
		opt := guard.Options{Tokens: jwtauth.Options{Keys: []jwtauth.Key{tokenKey}}, Bus: o.Bus, Logger: o.Logger}
		if b != nil {
			opt.Bus = b
		}
		made, err := guard.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = made.Close() })
		*g, o.Auth = made, made
	}
}

// expiring reads the warning and gives how long the token holds.
func (c *client) expiring() time.Duration {
	c.t.Helper()
	var m struct {
		Expiring *struct {
			InMS int64 `json:"in_ms"`
		}
	}
	text := c.next()
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.Expiring == nil {
		c.t.Fatalf("got %s; want expiring", text)
	}
	return time.Duration(m.Expiring.InMS) * time.Millisecond
}

func TestAnExpiringTokenIsToldAndThenCloses(t *testing.T) {
	t.Parallel()
	var g *guard.Guard
	h := start(t, withTokens(t, &g, nil))
	c := h.dial(token(t, "ann", 3*time.Second, "inbox:*"))
	ends := time.Now().Add(3 * time.Second)
	c.send(`{"subscribe":{"inbox:1":""}}`)
	c.next()
	if in := c.expiring(); in > 300*time.Millisecond {
		t.Errorf("warned %s before; want a tenth of the lifetime", in)
	}
	c.expectClose(4001)
	if early := time.Until(ends); early > time.Second+200*time.Millisecond { // tokens tell whole seconds
		t.Errorf("closed %s early", early)
	}
	h.eventually("the subject is forgotten", func() bool { return len(h.Sessions("ann")) == 0 })
}

func TestANewTokenGoesOn(t *testing.T) {
	t.Parallel()
	var g *guard.Guard
	h := start(t, withTokens(t, &g, nil))
	c := h.dial(token(t, "ann", 2*time.Second, "inbox:*"))
	c.send(`{"subscribe":{"inbox:1":""}}`)
	c.next()
	c.expiring()
	c.send(`{"id":1,"auth":"` + token(t, "ann", time.Hour, "inbox:*") + `"}`)
	c.expect(`{"id":1,"denied":{}}`)
	first := token(t, "bob", 2*time.Second)
	other := h.dial(first) // it ends with the one that isn't renewed
	if in := other.expiring(); in > 200*time.Millisecond {
		t.Errorf("warned %s before", in)
	}
	other.expectClose(4001)
	h.publish("inbox:1", 1)
	c.expect(`{"changed":{"inbox:1":` + at(1) + `}}`)
	// And one that ends sooner than the one before ends the session sooner.
	c.send(`{"id":2,"auth":"` + token(t, "ann", 2*time.Second, "inbox:*") + `"}`)
	c.expect(`{"id":2,"denied":{}}`)
	c.expiring()
	c.expectClose(4001)
}

// TestRefusedTokensLookTheSame from outside, whatever is wrong with them.
func TestRefusedTokensLookTheSame(t *testing.T) {
	t.Parallel()
	var g *guard.Guard
	h := start(t, withTokens(t, &g, nil))
	other := tokenKey
	other.Secret = []byte(strings.Repeat("o", 32))
	forged, err := jwtauth.Sign(other, jwtauth.Grant{Subject: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	good := token(t, "ann", time.Hour)
	seen := make(map[string]bool)
	for _, bad := range []string{"hello-hello-hello", forged, good + "x", "a." + good, strings.Repeat("x", 10_000)} {
		c := h.open(http.Header{"Sec-Websocket-Protocol": {"doorbell.v1.json, bearer." + bad}})
		_, err := c.tryNext()
		if !websocket.IsCloseError(err, 4001) {
			t.Errorf("%.20s…: %v", bad, err)
		}
		seen[fmt.Sprint(err)] = true
		if strings.Contains(h.logs.String(), bad) {
			t.Errorf("the log holds the token %.20s…", bad)
		}
	}
	if len(seen) != 1 {
		t.Errorf("refusals differ: %v", seen)
	}
}

func TestRevokedTokensCloseOnAllNodes(t *testing.T) {
	t.Parallel()
	b := membus.New(membus.Options{})
	defer b.Close()
	var one, two *guard.Guard
	h, other := start(t, withTokens(t, &one, b)), start(t, withTokens(t, &two, b))
	ann, late := token(t, "ann", time.Hour), token(t, "bob", time.Hour)
	clients := []*client{h.dial(ann), other.dial(ann)}
	keep := other.dial(token(t, "ann", time.Hour))
	begun := h.dial("")
	begun.send(`{"id":1,"auth":"` + ann + `"}`)
	begun.next()
	clients = append(clients, begun)
	p, err := one.Authenticate(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := one.Revocations().Revoke(t.Context(), revoked.ByID(p.ID, p.Expires)); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.expectClose(4001)
	}
	t.Logf("closed within %s", time.Since(begin))
	keep.expectNothing(other)
	h.open(http.Header{"Authorization": {"Bearer " + ann}}).expectClose(4001)

	bob := other.dial(late)
	if err := two.Revocations().Revoke(t.Context(), revoked.BySubject("bob", time.Now(), time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	bob.expectClose(4001)
	keep.expectNothing(other)
}

func TestSubjectsAreListedAndDisconnected(t *testing.T) {
	t.Parallel()
	var g *guard.Guard
	h := start(t, withTokens(t, &g, nil))
	ann := token(t, "ann", time.Hour)
	clients := []*client{h.dial(ann), h.dial(ann), h.dial(ann)}
	bob := h.dial(token(t, "bob", time.Hour))
	nobody := h.dial("")
	_ = clients[1].Close()
	h.eventually("one has left", func() bool { return len(h.Sessions("ann")) == 2 })
	for _, s := range h.Sessions("ann") {
		if !strings.HasPrefix(s.ID, "s-") || s.TokenID == "" || s.Expires == nil || time.Until(*s.Expires) > time.Hour+time.Minute {
			t.Errorf("the session is %+v", s)
		}
	}
	if n := h.Disconnect("ann", false, "come back"); n != 2 {
		t.Errorf("disconnected %d; want 2", n)
	}
	clients[0].expectClose(1012)
	clients[2].expectClose(1012)
	if n := h.Disconnect("bob", true, "banned"); n != 1 {
		t.Errorf("disconnected %d; want 1", n)
	}
	bob.expectClose(4003)
	nobody.expectNothing(h)
	h.eventually("they are forgotten", func() bool { return len(h.Sessions("ann"))+len(h.Sessions("bob")) == 0 })
}

func TestRebalanceAsksAPartToGo(t *testing.T) {
	t.Parallel()
	h := start(t)
	const many = 20
	var clients []*client
	for range many {
		clients = append(clients, h.dial(""))
	}
	if n := h.Rebalance(0.25); n != many/4 {
		t.Errorf("asked %d; want %d", n, many/4)
	}
	asked := 0
	for _, c := range clients {
		c.send(`{"ping":1}`)
		switch text := c.next(); text {
		case `{"pong":1}`:
		case `{"goaway":{"reason":"rebalance","in_ms":30000}}`:
			asked++
			c.expect(`{"pong":1}`) // it goes on until it goes
		default:
			t.Errorf("got %s", text)
		}
	}
	if asked != many/4 {
		t.Errorf("%d were asked to go; want %d", asked, many/4)
	}
}
