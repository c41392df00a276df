// Package problem is the form of every error that leaves an HTTP service: RFC 9457 application/problem+json with a
// stable code. What it says is meant for whoever sent the request; internal errors are logged, not sent.
package problem

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// ContentType is the media type of problems.
const ContentType = "application/problem+json"

// Problem is an error for the client. It is built once and not modified after it has been handed on.
type Problem struct {
	Status int
	// Code is stable and made for programs: "no_feed".
	Code string
	// Detail is one sentence for people: what was wrong and what is allowed.
	Detail string
	// RetryAfter, in seconds, is sent as the header of that name when above 0.
	RetryAfter int
	// Header holds further headers, such as Allow.
	Header http.Header
	// Extra members beside the standard ones, such as "offset" or "snapshot".
	Extra map[string]any
}

// New makes a problem.
func New(status int, code, detail string) *Problem {
	return &Problem{Status: status, Code: code, Detail: detail}
}

// With gives a copy that has one more member.
func (p *Problem) With(member string, value any) *Problem {
	q := *p
	q.Extra = maps.Clone(p.Extra)
	if q.Extra == nil {
		q.Extra = make(map[string]any, 1)
	}
	q.Extra[member] = value
	return &q
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// MarshalJSON gives type, title, status, code, detail and the extra members.
func (p *Problem) MarshalJSON() ([]byte, error) {
	members := make(map[string]any, len(p.Extra)+5)
	maps.Copy(members, p.Extra)
	members["type"] = "about:blank"
	members["title"] = http.StatusText(p.Status)
	members["status"] = p.Status
	members["code"] = p.Code
	if p.Detail != "" {
		members["detail"] = p.Detail
	}
	return marshal(members)
}

// marshal leaves <, > and & readable: no browser takes a problem for a page.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Write sends the problem. Errors are never held by any cache.
func Write(w http.ResponseWriter, p *Problem) {
	body, err := marshal(p)
	if err != nil { // an extra member that JSON can't express: a mistake of ours, the code still helps
		body = []byte(`{"type":"about:blank","status":` + strconv.Itoa(p.Status) + `,"code":` + strconv.Quote(p.Code) + `}`)
	}
	h := w.Header()
	for name, values := range p.Header {
		h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	h.Set("Content-Type", ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Cache-Control") == "" { // a 404 of a public feed has been given its second already
		h.Set("Cache-Control", "no-store")
		h.Set("CDN-Cache-Control", "no-store")
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may be gone
}
