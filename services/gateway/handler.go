package gateway

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/front"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/sse"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wsconn"
)

// Path is where signals are.
const Path = "/v1/signals"

// bearer marks the subprotocol that carries a token: browsers can set no header.
const bearer = "bearer."

// Handler serves [Path]. A foreign origin and a gateway that stops are refused with a problem; whatever else there is
// to refuse on a WebSocket is said by a close code, which browsers can see.
//
// Connections outlive their requests, so they don't end with the http.Server: Close does that.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.handle) }

// Listen takes handshakes off a listener without TLS before an http.Server sees them, which spares memory; the handler gets
// what is left.
func (g *Gateway) Listen(l net.Listener) net.Listener {
	return front.Listen(l, Path, g.Handler(), g.log)
}

func (g *Gateway) handle(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != Path:
		problem.Write(w, problem.New(http.StatusNotFound, "not_found", "there is nothing here; signals are at "+Path))
	case r.Method == http.MethodOptions:
		g.preflight(w, r)
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", methods)
		problem.Write(w, problem.New(http.StatusMethodNotAllowed, "method_not_allowed", "allowed: "+methods))
	case wsconn.IsUpgrade(r):
		g.upgrade(w, r)
	case wantsEvents(r):
		g.events(w, r)
	default:
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		problem.Write(w, problem.New(http.StatusUpgradeRequired, "upgrade_required",
			"signals come over a WebSocket, or as events with Accept: "+sse.ContentType))
	}
}

// methods are those that are allowed.
const methods = http.MethodGet + ", " + http.MethodOptions

// originAllowed tells whether the page that asks may. If not, it has been told.
func (g *Gateway) originAllowed(w http.ResponseWriter, r *http.Request) bool {
	from, ok := g.origins.Allow(r, g.proxies)
	if !ok {
		g.refusals.Refused(from, r.Host, r.RemoteAddr)
		g.metrics.handshake(outcomeOrigin)
		problem.Write(w, problem.New(http.StatusForbidden, "origin_not_allowed", "pages of this origin may not connect"))
	}
	return ok
}

// admitted tells whether the request is counted in. If not, whoever asks has been told.
func (g *Gateway) admitted(w http.ResponseWriter) bool {
	p := g.admit()
	if p != nil {
		g.metrics.handshake(p.Code)
		problem.Write(w, p)
	}
	return p == nil
}

func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request) {
	if !g.originAllowed(w, r) || !g.admitted(w) {
		return
	}
	serving := false
	defer func() {
		if !serving { // refused, or a panic on the way
			g.leave()
		}
	}()
	c, err := wsconn.Upgrade(w, r, &g.sockets)
	if err != nil {
		g.metrics.handshake(outcomeBad)
		g.log.Debug("not upgraded", "remote", r.RemoteAddr, "err", err)
		return
	}
	token, ok := tokenOf(r)
	if !ok {
		c.Close(wire.Close{Code: wire.CloseForbidden, Reason: twoTokens}) // not one that has clients fetch a third
	}
	serving = g.serve(c, token)
}

// twoTokens is what a request is told that carries different ones: whichever counted, somebody would be taken for somebody else.
const twoTokens = "there are two different tokens; allowed: one, in Authorization or as a subprotocol"

// tokenOf finds the token that came with the request; "" for none, and false for more than one.
func tokenOf(r *http.Request) (token string, ok bool) {
	var tokens []string
	for _, value := range r.Header.Values("Authorization") {
		if scheme, token, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "bearer") {
			tokens = append(tokens, strings.TrimSpace(token))
		}
	}
	for _, name := range wsconn.Offered(r) {
		if token, ok := strings.CutPrefix(name, bearer); ok {
			tokens = append(tokens, token)
		}
	}
	tokens = slices.Compact(slices.DeleteFunc(tokens, func(token string) bool { return token == "" }))
	switch len(tokens) {
	case 0:
		return "", true
	case 1:
		return tokens[0], true
	}
	return "", false
}
