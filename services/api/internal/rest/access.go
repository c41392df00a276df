package rest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// mayDo gives whose the request's token is, if that allows the action on the request's feed.
func (s *Server) mayDo(x *exchange, action auth.Action) (*auth.Principal, error) {
	principal, err := s.principal(x)
	if err != nil {
		return nil, err
	}
	x.subject = principal.Subject
	return principal, refusal(s.weigh(x, principal, action, x.name)[0], action, x.name)
}

// weigh tells what the principal may do with each of the feeds. It waits for the authorization callback where that is needed.
func (s *Server) weigh(x *exchange, p *auth.Principal, a auth.Action, names ...feed.Name) []auth.Verdict {
	more, _ := s.Auth.(auth.Authorizer)
	return auth.Weigh(x.ctx(), more, p, a, names, s.Policies.Authorize)
}

var errUndecided = fmt.Errorf("the authorization callback doesn't answer: %w", auth.ErrUnavailable)

// refusal is what a verdict means to whoever asked; nil: go on.
func refusal(v auth.Verdict, action auth.Action, name feed.Name) error {
	switch v {
	case auth.Allowed:
		return nil
	case auth.Unknown:
		return errUndecided
	default:
		return problem.New(http.StatusForbidden, codeForbidden,
			fmt.Sprintf("this token does not have the %s scope for the feed %s", action, name))
	}
}

// principal is who sent the request.
func (s *Server) principal(x *exchange) (*auth.Principal, error) {
	if p := x.known(); p != nil {
		return p, nil
	}
	values := x.c.Request.Header.Values("Authorization")
	if len(values) == 0 {
		return nil, unauthorized("Bearer", `a token is needed: "Authorization: Bearer <token>"`)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, unauthorized(`Bearer error="invalid_request"`, `the Authorization header is not "Bearer <token>"`)
	}
	if s.Auth == nil {
		return nil, errInvalidToken
	}
	principal, err := s.Auth.Authenticate(x.ctx(), token)
	if errors.Is(err, auth.ErrInvalid) {
		return nil, errInvalidToken
	}
	return principal, err
}

var errInvalidToken = unauthorized(`Bearer error="invalid_token"`, "the token is not valid here")

func unauthorized(challenge, detail string) *problem.Problem {
	p := problem.New(http.StatusUnauthorized, codeUnauthorized, detail)
	p.Header = http.Header{"WWW-Authenticate": {challenge}}
	return p
}

// open tells whether this is someone on this machine whom the configuration lets write without a token. The Host has to
// be a name of this machine, too: a page of another site that lets its own name lead here must not get in.
// What says that it was forwarded, without a trusted proxy that tells for whom, may come from anywhere.
func (s *Server) open(x *exchange) bool {
	r := x.c.Request
	return s.OpenWrites && isLoopbackIP(x.c.ClientIP()) && isLoopbackHost(s.proxies.Host(r)) &&
		s.proxies.Readable(r)
}

func isLoopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	return strings.EqualFold(name, "localhost") || isLoopbackIP(name)
}

func isLoopbackIP(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Unmap().IsLoopback()
}

// originAllowed tells whether the page that sent the request, if it was one, may write or read what is private: it comes
// from here, or from a configured origin.
func (s *Server) originAllowed(x *exchange) bool {
	_, ok := s.origins.Allow(x.c.Request, s.proxies)
	return ok
}

// mayReadAll tells whether the request may read all of these feeds. Of private feeds that it may not read the problem
// names those that were asked for, whether they exist or not.
func (s *Server) mayReadAll(x *exchange, private []feed.Name) error {
	if len(private) == 0 {
		return nil
	}
	principal, err := s.principal(x)
	if err != nil {
		if p, ok := errors.AsType[*problem.Problem](err); ok {
			return p.With("feeds", private)
		}
		return err
	}
	var denied []feed.Name
	unknown := false
	for i, verdict := range s.weigh(x, principal, auth.Read, private...) {
		unknown = unknown || verdict == auth.Unknown
		if verdict == auth.Forbidden {
			denied = append(denied, private[i])
		}
	}
	if len(denied) > 0 {
		return problem.New(http.StatusForbidden, codeForbidden,
			"this token does not have the read scope for the feeds named").With("feeds", denied)
	}
	if unknown {
		return errUndecided
	}
	return nil
}
