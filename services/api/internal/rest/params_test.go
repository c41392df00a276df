package rest

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/problem"
)

const (
	c10 = "0k3f9xa-10"
	c12 = "0k3f9xa-12"
	cw  = "0k3f9xa-10~12"
)

func TestCanonicalForm(t *testing.T) {
	for _, tc := range []struct {
		query             string
		delta             bool
		canonical, pinned bool
	}{
		{"", false, true, false},
		{"", true, true, false},
		{"at_least=" + c12, false, true, true},
		{"at_least=" + c12, true, true, true}, // from the beginning, up to a version
		{"since=" + c10, true, true, false},
		{"since=10", true, true, false},
		{"since=0", true, true, false},
		{"since=" + cw, true, true, false},
		{"since=" + c10 + "&at_least=" + c12, true, true, true},
		{"since=" + cw + "&at_least=" + c12, true, true, true},
		{"since=10&at_least=" + c12, true, true, false}, // a bare seq is in some epoch
		{"since=" + c10 + "&at_least=12", true, true, false},
		{"at_least=12", false, true, false},
		{"since=" + c10 + "&at_least=" + c12 + "&limit=10", true, true, true},
		{"limit=10", false, true, false},
		{"limit=10000", true, true, false},
		{"limit=1000", false, false, false}, // the default
		{"since=" + c10 + "&limit=1000", true, false, false},
		{"at_least=" + c12 + "&limit=1000", false, false, false},
		{"at_least=" + c12 + "&since=" + c10, true, false, false}, // the order
		{"limit=10&since=" + c10, true, false, false},
		{"limit=10&at_least=" + c12, false, false, false},
		{"since=" + c10, false, false, false}, // not a snapshot's
		{"at_least=" + c12 + "&since=" + c10, false, false, false},
		{"wait=20", true, false, false},
		{"since=" + c10 + "&wait=20", true, false, false},
		{"at_least=" + c12 + "&utm_source=x", false, false, false},
		{"_=1700000000", false, false, false},
		{"SINCE=" + c10, true, false, false},
		{"since=", true, false, false},
		{"at_least=", false, false, false},
		{"&since=" + c10, true, false, false},
		{"since=" + c10 + "&", true, false, false},
		{"since=" + c10 + "&&at_least=" + c12, true, false, false},
		{"since=" + strings.ReplaceAll(cw, "~", "%7E"), true, false, false}, // escaped without need
		{"s%69nce=" + c10, true, false, false},
		{"at_least=0k3f9xa%2D12", false, false, false},
		{"since=0", true, true, false},
		{"%zz=1", true, false, false},
	} {
		p, err := parseParams(tc.query, tc.delta)
		if err != nil {
			t.Errorf("%s: %v", tc.query, err)
		}
		if p.canonical != tc.canonical || p.pinned != tc.pinned {
			t.Errorf("%q (delta: %v): canonical %v, pinned %v; want %v, %v", tc.query, tc.delta, p.canonical, p.pinned, tc.canonical, tc.pinned)
		}
	}
}

func TestParamErrors(t *testing.T) {
	for query, code := range map[string]string{
		"since=" + c10 + "&since=" + c10:    "repeated_parameter",
		"since=&since=":                     "repeated_parameter",
		"at_least=1&at_least=2":             "repeated_parameter",
		"limit=1&limit=1":                   "repeated_parameter",
		"limit=1&x=2&limit=1":               "repeated_parameter",
		"since=1&s%69nce=1":                 "repeated_parameter",
		"limit=0":                           "bad_limit",
		"limit=":                            "bad_limit",
		"limit=-1":                          "bad_limit",
		"limit=10001":                       "bad_limit",
		"limit=010":                         "bad_limit",
		"limit=1e3":                         "bad_limit",
		"limit=ten":                         "bad_limit",
		"limit=99999999999999999999":        "bad_limit",
		"limit=+5":                          "bad_limit",
		"limit":                             "bad_limit",
		"since=-1":                          "bad_cursor",
		"since=01":                          "bad_cursor",
		"since=x":                           "bad_cursor",
		"since=0k3f9xa":                     "bad_cursor",
		"since=0k3f9xa-":                    "bad_cursor",
		"since=0K3F9XA-1":                   "bad_cursor",
		"since=0k3f9xa-1~":                  "bad_cursor",
		"since=0k3f9xa-01":                  "bad_cursor",
		"since=0k3f9xa-9223372036854775808": "bad_cursor",
		"since=%zz":                         "bad_cursor",
		"since=%00":                         "bad_cursor",
		"since=+1":                          "bad_cursor",
		"at_least=" + cw:                    "bad_cursor",
		"at_least=x":                        "bad_cursor",
		"at_least=0000000-1":                "bad_cursor",
	} {
		_, err := parseParams(query, true)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != 400 || p.Code != code || !strings.Contains(p.Detail, "allowed") && code != "bad_cursor" {
			t.Errorf("%s: %v; want %s", query, err, code)
		}
	}
}

// FuzzParams: whatever is asked, a canonical query is the one spelling of what it says, and bounds hold.
func FuzzParams(f *testing.F) {
	for _, seed := range []string{"", "since=" + c10, "since=" + cw + "&at_least=" + c12 + "&limit=5", "since=1&since=1", "limit=1000", "wait=5&%zz=&&=", "since=%30"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, raw string, delta bool) {
		p, err := parseParams(raw, delta)
		if err != nil {
			var bad *problem.Problem
			if !errors.As(err, &bad) || bad.Status != 400 || len(bad.Detail) > 1000 {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if p.limit < 1 || p.limit > maxLimit || p.atLeast.Cursor.Walk() || (p.pinned && !p.canonical) || (!delta && !p.since.IsZero()) {
			t.Fatalf("%q: %+v", raw, p)
		}
		if p.pinned && (p.atLeast.Bare || p.sinceBare || p.atLeast.IsZero()) {
			t.Fatalf("%q is pinned: %+v", raw, p)
		}
		if !p.canonical {
			return
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("the canonical %q: %v", raw, err)
		}
		for name, list := range values {
			if len(list) != 1 || (name != "since" && name != "at_least" && name != "limit") || (name == "since" && !delta) {
				t.Fatalf("the canonical %q has %s=%q", raw, name, list)
			}
		}
		again, err := parseParams(raw, delta)
		if err != nil || again != p {
			t.Fatalf("%q: %+v, then %+v, %v", raw, p, again, err)
		}
	})
}
