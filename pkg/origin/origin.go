// Package origin tells which web pages may talk to a service: those of its own origin, and those of configured ones.
package origin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Origin is where a page comes from, in lower case, its port spelled out where its scheme has one.
type Origin struct{ scheme, host, port string }

var errSyntax = errors.New(`not an origin; allowed: a scheme, a host and maybe a port, such as "https://app.example.com"`)

// Parse reads "https://app.example.com", "http://[::1]:3000", or an app's "capacitor://localhost". The text "null" is
// nobody's origin, and an error.
func Parse(text string) (Origin, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") ||
		!strings.EqualFold(u.Scheme+"://"+u.Host, text) {
		return Origin{}, errSyntax
	}
	o := Origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		o.port = map[string]string{"http": "80", "https": "443"}[o.scheme]
	}
	if ip, err := netip.ParseAddr(o.host); err == nil { // one spelling of each address
		o.host = ip.Unmap().String()
	}
	return o, nil
}

// List is the configured origins. It is immutable; a nil List is empty.
type List struct {
	exact map[Origin]bool
	below []Origin // host begins with '.'
}

// ParseList reads origins, and "https://*.example.com" for all below example.com at any depth. The error joins everything
// that is wrong.
func ParseList(texts []string) (*List, error) {
	l := &List{exact: make(map[Origin]bool, len(texts))}
	var errs []error
	for _, text := range texts {
		scheme, rest, _ := strings.Cut(text, "://")
		host, below := strings.CutPrefix(rest, "*.")
		o, err := Parse(scheme + "://" + host)
		switch {
		case err != nil || strings.Contains(host, "*"):
			errs = append(errs, fmt.Errorf(`%q is %w, or "https://*.example.com"`, text, errSyntax))
		case below:
			o.host = "." + o.host
			l.below = append(l.below, o)
		default:
			l.exact[o] = true
		}
	}
	return l, errors.Join(errs...)
}

// Has tells whether the origin is on the list.
func (l *List) Has(o Origin) bool {
	if l == nil {
		return false
	}
	if l.exact[o] {
		return true
	}
	for _, b := range l.below {
		if b.scheme == o.scheme && b.port == o.port && len(o.host) > len(b.host) && strings.HasSuffix(o.host, b.host) {
			return true
		}
	}
	return false
}

// Allow tells whether the page that sent the request may do what is not for all pages: it is of the service's own origin,
// or of one on the list. A request without an Origin comes from no page of another site, and is allowed. text is the
// Origin as it came.
func (l *List) Allow(r *http.Request, proxies Proxies) (text string, ok bool) {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return "", true
	}
	text = strings.Join(values, ", ")
	from, err := Parse(text)
	if err != nil {
		return text, false
	}
	// The scheme is not compared: what ends TLS before this service doesn't always tell.
	if own, err := Parse(from.scheme + "://" + proxies.Host(r)); err == nil && own == from {
		return text, true
	}
	return text, l.Has(from)
}

// Proxies are the addresses whose X-Forwarded-* headers count.
type Proxies []netip.Prefix

// ParseProxies reads addresses and CIDRs. The error joins everything that is wrong.
func ParseProxies(texts []string) (Proxies, error) {
	var p Proxies
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
			errs = append(errs, fmt.Errorf(`%q is not an address; allowed: an IP address or a CIDR, such as "10.0.0.0/8"`, text))
			continue
		}
		p = append(p, prefix)
	}
	return p, errors.Join(errs...)
}

// Sent tells whether the request's peer is one of the proxies.
func (p Proxies) Sent(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, prefix := range p {
		if prefix.Contains(peer.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// Host is the host that the client asked for.
func (p Proxies) Host(r *http.Request) string {
	if p.Sent(r) {
		// The nearest proxy's is the last. Of the others nothing is known.
		values := strings.Split(strings.Join(r.Header.Values("X-Forwarded-Host"), ","), ",")
		if host := strings.TrimSpace(values[len(values)-1]); host != "" {
			return host
		}
	}
	return r.Host
}

// Forwarded tells whether the request says that it came through a proxy, whoever sent it.
func Forwarded(r *http.Request) bool {
	for _, name := range []string{
		"Forwarded", "Via", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
	} {
		if len(r.Header.Values(name)) > 0 {
			return true
		}
	}
	return false
}

// Readable tells whether the client's address can be read from what the proxies say: every entry of X-Forwarded-For is an
// address, and there is no Forwarded, which is not read here. A request that wasn't forwarded is readable.
func (p Proxies) Readable(r *http.Request) bool {
	if !Forwarded(r) {
		return true
	}
	values := r.Header.Values("X-Forwarded-For")
	if !p.Sent(r) || len(values) == 0 || len(r.Header.Values("Forwarded")) > 0 {
		return false
	}
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if _, err := netip.ParseAddr(strings.TrimSpace(entry)); err != nil {
			return false
		}
	}
	return true
}
