package rest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// mayDo tells whether the request's token allows the action on the request's feed.
func (s *Server) mayDo(x *exchange, action auth.Action) error {
	principal, err := s.principal(x)
	if err != nil {
		return err
	}
	if !principal.May(action, x.name) {
		return problem.New(http.StatusForbidden, codeForbidden,
			fmt.Sprintf("this token does not have the %s scope for the feed %s", action, x.name))
	}
	return nil
}

// principal is who sent the request.
func (s *Server) principal(x *exchange) (*auth.Principal, error) {
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
func (s *Server) open(x *exchange) bool {
	return s.OpenWrites && isLoopbackIP(x.c.ClientIP()) && isLoopbackHost(s.host(x))
}

// host is the host that the client asked for.
func (s *Server) host(x *exchange) string {
	if s.fromProxy(x) {
		// The nearest proxy's is the last. Of the others nothing is known.
		values := strings.Split(strings.Join(x.c.Request.Header.Values("X-Forwarded-Host"), ","), ",")
		if host := strings.TrimSpace(values[len(values)-1]); host != "" {
			return host
		}
	}
	return x.c.Request.Host
}

func (s *Server) fromProxy(x *exchange) bool {
	peer, err := netip.ParseAddr(x.c.RemoteIP())
	if err != nil {
		return false
	}
	for _, prefix := range s.proxies {
		if prefix.Contains(peer.Unmap()) {
			return true
		}
	}
	return false
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
	text := x.c.Request.Header.Get("Origin")
	if text == "" {
		return len(x.c.Request.Header.Values("Origin")) == 0
	}
	origin, err := parseOrigin(text)
	if err != nil {
		return false // "null" is nobody's
	}
	if s.origins[origin] {
		return true
	}
	// Scheme aside: whatever ends TLS before this server doesn't always tell.
	scheme, host, _ := strings.Cut(origin, "://")
	return host == withoutDefaultPort(scheme, strings.ToLower(s.host(x)))
}

// parseOrigin brings an origin into the form in which they are compared.
func parseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", fmt.Errorf("%q is not an origin; allowed: http or https, a host and maybe a port, "+
			"such as https://app.example.com", text)
	}
	return u.Scheme + "://" + withoutDefaultPort(u.Scheme, strings.ToLower(u.Host)), nil
}

func withoutDefaultPort(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

func parseOrigins(texts []string) (map[string]bool, error) {
	origins := make(map[string]bool, len(texts))
	var errs []error
	for _, text := range texts {
		origin, err := parseOrigin(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("allowed origins: %w", err))
			continue
		}
		origins[origin] = true
	}
	return origins, errors.Join(errs...)
}

func parseProxies(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	var errs []error
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(text); err == nil {
				prefix = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted proxies: %q is not an address; allowed: an IP address or a CIDR, "+
				"such as 10.0.0.0/8", text))
			continue
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, errors.Join(errs...)
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
	for _, name := range private {
		if !principal.May(auth.Read, name) {
			denied = append(denied, name)
		}
	}
	if len(denied) > 0 {
		return problem.New(http.StatusForbidden, codeForbidden,
			"this token does not have the read scope for the feeds named").With("feeds", denied)
	}
	return nil
}
