package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// params is the query of a read.
type params struct {
	since     feed.Cursor // zero: from the beginning
	sinceBare bool        // since.Seq is meant in the current epoch
	atLeast   window.Floor
	limit     int  // 1 to 10,000
	polled    bool // wait is there
	wait      time.Duration
	canonical bool
	pinned    bool // canonical, at_least is there, and every cursor says its epoch
}

// parseParams reads the raw query of a snapshot or, with delta, of changes. An empty cursor is none (but not the canonical
// way to say so). Parameters that a route doesn't know are ignored.
func parseParams(raw string, delta bool) (params, error) {
	p := params{limit: defaultLimit}
	var given struct{ since, atLeast, limit, wait *string }
	for name, value := range queryPairs(raw) {
		var at **string
		switch name {
		case "since":
			at = &given.since
		case "at_least":
			at = &given.atLeast
		case "limit":
			at = &given.limit
		case "wait":
			if !delta {
				continue
			}
			at = &given.wait
		default:
			continue
		}
		if *at != nil {
			return p, problem.New(http.StatusBadRequest, "repeated_parameter", name+" is there twice; allowed: once").
				With("parameter", name)
		}
		*at = &value
	}

	var canonical []string
	if delta && given.since != nil && *given.since != "" {
		var err error
		if p.since, p.sinceBare, err = parseCursor("since", *given.since); err != nil {
			return p, err
		}
		canonical = append(canonical, "since="+*given.since)
	}
	if given.atLeast != nil && *given.atLeast != "" {
		cursor, bare, err := parseCursor("at_least", *given.atLeast)
		if err != nil {
			return p, err
		}
		if cursor.Walk() {
			return p, badCursor("at_least", "at_least can't be a walk cursor; allowed: a feed's cursor, or a seq")
		}
		p.atLeast = window.Floor{Cursor: cursor, Bare: bare}
		p.pinned = !bare && !p.sinceBare
		canonical = append(canonical, "at_least="+*given.atLeast)
	}
	if given.limit != nil {
		n, ok := feed.ParseSeq(*given.limit)
		if !ok || n < 1 || n > maxLimit {
			return p, problem.New(http.StatusBadRequest, "bad_limit",
				fmt.Sprintf("limit is %s; allowed: 1 to %d", quoted(*given.limit), maxLimit)).With("parameter", "limit")
		}
		p.limit = int(n)
		if p.limit != defaultLimit {
			canonical = append(canonical, "limit="+*given.limit)
		}
	}
	if given.wait != nil {
		var ok bool
		if p.wait, ok = parseWait(*given.wait); !ok {
			return p, badWait("wait", *given.wait).With("parameter", "wait")
		}
		p.polled = true
	}
	p.canonical = raw == strings.Join(canonical, "&")
	p.pinned = p.pinned && p.canonical
	return p, nil
}

// maxWait is the longest that a long poll may wait, in seconds.
const maxWait = 30

// parseWait reads "20" or "20s".
func parseWait(s string) (time.Duration, bool) {
	n, ok := feed.ParseSeq(strings.TrimSuffix(s, "s"))
	return time.Duration(n) * time.Second, ok && n <= maxWait
}

func badWait(where, value string) *problem.Problem {
	return problem.New(http.StatusBadRequest, "bad_wait",
		fmt.Sprintf(`%s is %s; allowed: 0 to %d seconds, such as "20" or "20s"`, where, quoted(value), maxWait))
}

// parseCursor reads a full cursor, or a bare seq.
func parseCursor(parameter, s string) (c feed.Cursor, bare bool, err error) {
	if seq, ok := feed.ParseSeq(s); ok {
		return feed.Cursor{Seq: seq}, true, nil
	}
	if c, err = feed.ParseCursor(s); err != nil {
		return c, false, badCursor(parameter, parameter+": "+err.Error()+`; or a seq alone, such as "1042"`)
	}
	return c, false, nil
}

func badCursor(parameter, detail string) error {
	return problem.New(http.StatusBadRequest, "bad_cursor", detail).With("parameter", parameter)
}

// queryPairs goes through a raw query's parameters in order. A name that is not well escaped is nobody's; such a value
// stays as it was sent, which no parameter allows.
func queryPairs(raw string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for pair := range strings.SplitSeq(raw, "&") {
			name, value, _ := strings.Cut(pair, "=")
			name, err := url.QueryUnescape(name)
			if err != nil || name == "" {
				continue
			}
			if v, err := url.QueryUnescape(value); err == nil {
				value = v
			}
			if !yield(name, value) {
				return
			}
		}
	}
}

// quoted keeps messages short and printable whatever came in.
func quoted(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
