package doorbell

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Problem is the server's "no": any answer that is not 2xx, as RFC 9457 has it. An answer that isn't problem+json
// (some proxy's) has Status and Title only.
type Problem struct {
	Status int    // the HTTP status
	Code   string // stable, made for programs: "no_feed", "reset", "behind"; "" when the server gave none
	Title  string
	Detail string // one sentence for people

	// Snapshot, on a reset, is the path and query of the snapshot to start over from.
	Snapshot string
	// RetryAfter is how long the server asks to be left alone; 0 when it doesn't ask.
	RetryAfter time.Duration
	// Extra has all other members, undecoded.
	Extra map[string]json.RawMessage
}

func (p *Problem) Error() string {
	s := "doorbell: " + strconv.Itoa(p.Status)
	switch {
	case p.Code != "":
		s += " " + p.Code
	case p.Title != "":
		s += " " + p.Title
	}
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	return s
}

// IsCode tells whether err is, or wraps, a *[Problem] with that code.
func IsCode(err error, code string) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Code == code
}

func parseProblem(resp *http.Response, body []byte) *Problem {
	p := &Problem{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now())}
	members := map[string]json.RawMessage{}
	if json.Unmarshal(body, &members) == nil {
		for name, to := range map[string]*string{
			"code": &p.Code, "title": &p.Title, "detail": &p.Detail, "snapshot": &p.Snapshot,
		} {
			// A member of another type is nobody's text; it stays in Extra.
			if json.Unmarshal(members[name], to) == nil {
				delete(members, name)
			}
		}
		maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return name == "type" || name == "status" })
		if len(members) > 0 {
			p.Extra = members
		}
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	return p
}

// retryAfter reads Retry-After in both its forms, seconds and a date. 0: none, nonsense, or past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Refused says that the gateway won't signal this feed to this client, and that trying again won't help.
type Refused struct {
	Code   int    // the WebSocket close code: 4001, 4003, 4009; 0: the subscription was denied
	Reason string // the server's word for it
}

func (r *Refused) Error() string {
	if r.Code == 0 {
		return fmt.Sprintf("doorbell: the gateway denied the subscription: %s", r.Reason)
	}
	return fmt.Sprintf("doorbell: the gateway closed the connection for good: %d %s", r.Code, r.Reason)
}
