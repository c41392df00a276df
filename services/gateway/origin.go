package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// origins decides which web pages may connect. It is immutable.
type origins struct {
	exact map[origin]bool
	below []origin // host is a suffix that begins with '.'
}

// origin is where a page comes from, in lower case, with its port always spelled out where the scheme has a default.
type origin struct{ scheme, host, port string }

// newOrigins checks the configured list and joins everything that is wrong with it.
func newOrigins(list []string) (*origins, error) {
	o := &origins{exact: make(map[origin]bool, len(list))}
	var errs []error
	for _, text := range list {
		scheme, rest, _ := strings.Cut(text, "://")
		host, below := strings.CutPrefix(rest, "*.")
		parsed, err := parseOrigin(scheme + "://" + host)
		if err != nil || strings.Contains(host, "*") {
			errs = append(errs, fmt.Errorf(
				`allowed origin %q: not an origin; allowed: "https://app.example.com" or "https://*.example.com"`, text))
			continue
		}
		if below {
			parsed.host = "." + parsed.host
			o.below = append(o.below, parsed)
		} else {
			o.exact[parsed] = true
		}
	}
	return o, errors.Join(errs...)
}

// allow tells whether the request may connect, and names its origin. Without an Origin it is not a browser's, and no
// page can abuse a browser's cookies or address with it.
func (o *origins) allow(r *http.Request) (string, bool) {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return "", true
	}
	text := strings.Join(values, ", ")
	from, err := parseOrigin(text)
	if err != nil {
		return text, false
	}
	// The scheme is not compared: behind a proxy that ends TLS, the request's own is not known.
	if to, err := parseOrigin(from.scheme + "://" + r.Host); err == nil && to == from {
		return text, true
	}
	if o.exact[from] {
		return text, true
	}
	for _, b := range o.below {
		if b.scheme == from.scheme && b.port == from.port && len(from.host) > len(b.host) && strings.HasSuffix(from.host, b.host) {
			return text, true
		}
	}
	return text, false
}

func parseOrigin(text string) (origin, error) {
	u, err := url.Parse(text)
	if err != nil {
		return origin{}, err
	}
	if u.Scheme == "" || u.Host == "" || u.Hostname() == "" || u.Scheme+"://"+u.Host != strings.ToLower(u.Scheme)+text[len(u.Scheme):] {
		return origin{}, errors.New("not scheme://host[:port]")
	}
	o := origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return origin{}, errors.New("has an empty port")
		}
		o.port = map[string]string{"http": "80", "https": "443"}[o.scheme]
	}
	if ip := net.ParseIP(o.host); ip != nil { // one spelling of each address
		o.host = ip.String()
	}
	return o, nil
}
