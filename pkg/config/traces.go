package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Traces says where spans go, and of which requests there are any.
type Traces struct {
	// Endpoint is the collector, which is spoken to in OTLP over HTTP: "http://127.0.0.1:4318". "": nothing is traced.
	Endpoint string `yaml:"endpoint" env:"ENDPOINT"`
	// Sample is the share, 0 to 1, of requests without a traceparent that are traced.
	Sample float64 `yaml:"sample" env:"SAMPLE"`
	// AcceptPerSecond is how many requests a second, reads and writes each, a process traces because their traceparent says that
	// they are sampled. 0: none.
	AcceptPerSecond int `yaml:"accept_per_second" env:"ACCEPT_PER_SECOND"`
	// Headers go along to the collector. Their values are secrets.
	Headers Headers `yaml:"headers" env:"HEADERS"`
}

// Headers are HTTP headers by name. As text they are "name=value,name=value".
type Headers map[string]string

// UnmarshalText never repeats the text: it holds secrets.
func (h *Headers) UnmarshalText(text []byte) error {
	*h = Headers{}
	for pair := range strings.SplitSeq(string(text), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New(`headers are not of the form "name=value,name=value"`)
		}
		(*h)[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return nil
}

const maxAccept = 10_000

func defaultTraces() Traces { return Traces{AcceptPerSecond: 10} }

func (t Traces) validate() error {
	errs := []error{checkURL("traces.endpoint", t.Endpoint, "http", "https")}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(t.Endpoint); err == nil && (u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		bad("traces.endpoint has a user, a query or a fragment; allowed: http(s)://host:port/path; secrets belong into traces.headers")
	}
	if !(t.Sample >= 0 && t.Sample <= 1) {
		bad("traces.sample is %v; allowed: 0 to 1", t.Sample)
	}
	if t.AcceptPerSecond < 0 || t.AcceptPerSecond > maxAccept {
		bad("traces.accept_per_second is %d; allowed: 0 to %d", t.AcceptPerSecond, maxAccept)
	}
	for _, name := range sortedKeys(t.Headers) {
		if !isToken(name) {
			bad("traces.headers has the name %q; allowed: letters, digits and '-'", name)
		} else if strings.ContainsAny(t.Headers[name], "\r\n\x00") {
			bad("the value of traces.headers.%s has a line break; allowed: one line", name)
		}
	}
	return errors.Join(errs...)
}

// isToken tells whether name can be a header's.
func isToken(name string) bool {
	return name != "" && strings.Trim(name, "-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// withoutSecrets is what may be printed.
func (t Traces) withoutSecrets() Traces {
	headers := t.Headers
	t.Headers = nil
	for name := range headers {
		if t.Headers == nil {
			t.Headers = Headers{}
		}
		t.Headers[name] = hidden
	}
	return t
}
