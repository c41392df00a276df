package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/sse"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// events is how signals look as events.
var events = session.Kind{Encoding: sse.Events, Form: sse.Form}

// What pages of allowed origins may send, how long browsers remember that (in seconds), and what they may read.
const (
	allowedHeaders  = "Authorization, Cache-Control, Last-Event-ID"
	preflightMaxAge = "7200"
	exposedHeaders  = "Retry-After"
)

// wantsEvents tells whether the client takes events; it must say so.
func wantsEvents(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(line, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			if strings.EqualFold(strings.TrimSpace(kind), sse.ContentType) {
				return true
			}
		}
	}
	return false
}

// allowPage lets the page that asks read the answer. Its origin must have been found allowed.
func allowPage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin")
	if from := r.Header.Get("Origin"); from != "" {
		h.Set("Access-Control-Allow-Origin", from)
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
	}
}

// preflight answers OPTIONS: a page that sends a token asks first.
func (g *Gateway) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		if !g.originAllowed(w, r) {
			return
		}
		allowPage(w, r)
		h.Set("Access-Control-Allow-Methods", http.MethodGet)
		h.Set("Access-Control-Allow-Headers", allowedHeaders)
		h.Set("Access-Control-Max-Age", preflightMaxAge)
	}
	h.Set("Allow", methods)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// events answers with server-sent events. Whatever there is to refuse is said by the status.
func (g *Gateway) events(w http.ResponseWriter, r *http.Request) {
	if !g.originAllowed(w, r) {
		return
	}
	allowPage(w, r)
	feeds, wrong := feedsOf(r)
	if wrong != nil {
		problem.Write(w, wrong)
		return
	}
	token, ok := tokenOf(r)
	if !ok {
		problem.Write(w, problem.New(http.StatusBadRequest, "two_tokens", twoTokens))
		return
	}
	if !g.admitted(w) {
		return
	}
	serving := false
	defer func() {
		if !serving { // refused, or a panic on the way
			g.leave()
		}
	}()
	c, err := sse.Answer(w, r, w.Header().Clone(), &g.streams)
	if err != nil {
		g.log.Warn("events can't be sent", "remote", r.RemoteAddr, "err", err)
		problem.Write(w, problem.New(http.StatusInternalServerError, "internal", "events can't be sent"))
		return
	}
	dialogue, err := session.New(&g.sessions, &events, session.NewID(), token, c.Outlet(), c)
	if err != nil {
		c.Abort() // the gateway has been closed meanwhile
		return
	}
	serving = true
	g.add(c, dialogue)
	c.Start(dialogue, feeds)
}

// feedsOf reads which feeds to follow, each once, in order.
func feedsOf(r *http.Request) ([]feed.Name, *problem.Problem) {
	refuse := func(code, format string, args ...any) *problem.Problem {
		return problem.New(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse("bad_query", "the query can't be read; allowed: ?feed=a&feed=b")
	}
	for _, name := range []string{"access_token", "token"} {
		if query.Has(name) {
			return nil, refuse("token_in_url", "%s is in the URL, which ends up in logs; allowed: Authorization: Bearer", name)
		}
	}
	texts := query["feed"]
	if len(texts) == 0 {
		return nil, refuse("no_feeds", "no feed is named; allowed: 1 to %d, as ?feed=a&feed=b", wire.MaxFeeds)
	}
	var feeds []feed.Name
	seen := make(map[feed.Name]bool, min(len(texts), wire.MaxFeeds))
	for _, text := range texts {
		name, err := feed.ParseName(text)
		switch {
		case err != nil:
			return nil, refuse("bad_feed", "%s", err)
		case seen[name]:
			continue
		case len(feeds) == wire.MaxFeeds:
			return nil, refuse("too_many_feeds", "too many feeds; allowed: 1 to %d", wire.MaxFeeds)
		}
		seen[name] = true
		feeds = append(feeds, name)
	}
	return slices.Clip(feeds), nil
}
