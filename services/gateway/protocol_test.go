package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// TestDialogues is the protocol's section 3, line by line, in both encodings.
func TestDialogues(t *testing.T) {
	t.Parallel()
	type step struct {
		send    string
		publish feed.Name
		seq     int64 // -1: there is no such feed
		want    []string
		quiet   bool // nothing is to come
	}
	for name, steps := range map[string][]step{
		"the head comes with the answer, also when the client has it": {
			{publish: "prices:a", seq: 3},
			{publish: "prices:b", seq: -1},
			{send: `{"id":1,"subscribe":{"prices:a":` + at(3) + `,"prices:b":"","prices:c":null}}`,
				want: []string{`{"id":1,"subscribed":{"prices:a":` + at(3) + `,"prices:b":"","prices:c":null}}`}},
			{quiet: true},
		},
		"a feed that is born is signalled, a null that becomes known too": {
			{publish: "prices:b", seq: -1},
			{send: `{"subscribe":{"prices:b":"","prices:c":null}}`, want: []string{`{"subscribed":{"prices:b":"","prices:c":null}}`}},
			{publish: "prices:b", seq: 1, want: []string{`{"changed":{"prices:b":` + at(1) + `}}`}},
			{publish: "prices:c", seq: -1, want: []string{`{"changed":{"prices:c":""}}`}},
			{publish: "prices:c", seq: 9, want: []string{`{"changed":{"prices:c":` + at(9) + `}}`}},
		},
		"a head is told once, and never an older one": {
			{publish: "prices:a", seq: 3},
			{send: `{"subscribe":{"prices:a":""}}`, want: []string{`{"subscribed":{"prices:a":` + at(3) + `}}`}},
			{publish: "prices:a", seq: 3},
			{publish: "prices:a", seq: 2},
			{quiet: true},
			{publish: "prices:a", seq: 4, want: []string{`{"changed":{"prices:a":` + at(4) + `}}`}},
			{publish: "prices:a", seq: 4},
			{quiet: true},
		},
		"subscribing again tells the head again, and signals come once": {
			{publish: "prices:a", seq: 3},
			{send: `{"subscribe":{"prices:a":""}}`, want: []string{`{"subscribed":{"prices:a":` + at(3) + `}}`}},
			{send: `{"id":"x","subscribe":{"prices:a":""}}`, want: []string{`{"id":"x","subscribed":{"prices:a":` + at(3) + `}}`}},
			{publish: "prices:a", seq: 4, want: []string{`{"changed":{"prices:a":` + at(4) + `}}`}},
			{quiet: true},
		},
		"nothing is told after an unsubscribe, and all again after another subscribe": {
			{send: `{"subscribe":{"prices:a":""}}`, want: []string{`{"subscribed":{"prices:a":null}}`}},
			{send: `{"id":2,"unsubscribe":["prices:a"]}`, want: []string{`{"id":2,"unsubscribed":["prices:a"]}`}},
			{publish: "prices:a", seq: 4},
			{quiet: true},
			{send: `{"subscribe":{"prices:a":""}}`, want: []string{`{"subscribed":{"prices:a":` + at(4) + `}}`}},
			{send: `{"unsubscribe":["prices:a","prices:a","prices:never"]}`},
			{quiet: true},
			{publish: "prices:a", seq: 5},
			{quiet: true},
		},
		"ids come back as they were written": {
			{send: `{"id":1.50e+3,"ping":-7.0}`, want: []string{`{"id":1.50e+3,"pong":-7.0}`}},
			{send: `{"ping":1,"id":"\u0041\n\""}`, want: []string{`{"id":"\u0041\n\"","pong":1}`}},
			{send: ` { "ping" : 1 } `, want: []string{`{"pong":1}`}},
		},
		"private feeds are denied one by one": {
			{publish: "prices:a", seq: 1},
			{send: `{"id":1,"subscribe":{"inbox:8":"","prices:a":"","secret":""}}`,
				want: []string{`{"id":1,"subscribed":{"prices:a":` + at(1) + `},"denied":{"inbox:8":"forbidden","secret":"forbidden"}}`}},
			{publish: "inbox:8", seq: 1},
			{quiet: true},
		},
		"no feeds is a command as well": {
			{send: `{"id":1,"subscribe":{}}`, want: []string{`{"id":1,"subscribed":{}}`}},
			{send: `{"id":2,"unsubscribe":[]}`, want: []string{`{"id":2,"unsubscribed":[]}`}},
		},
		"a walk cursor is a place to come from": {
			{send: `{"subscribe":{"prices:a":"` + (feed.Cursor{Epoch: 1_000_000_000, Seq: 3, Base: 9}).String() + `"}}`,
				want: []string{`{"subscribed":{"prices:a":null}}`}},
		},
	} {
		for _, encoding := range []string{"json", "proto"} {
			t.Run(encoding+": "+name, func(t *testing.T) {
				t.Parallel()
				h := start(t)
				c := h.dialers()[encoding]("")
				for _, s := range steps {
					if s.publish != "" {
						h.publish(s.publish, s.seq)
					}
					if s.send != "" {
						c.send(s.send)
					}
					c.expect(s.want...)
					if s.quiet {
						c.expectNothing(h)
					}
				}
			})
		}
	}
}

func TestSubprotocols(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, tc := range []struct {
		offered  []string
		selected string
	}{
		{nil, ""},
		{[]string{"doorbell.v1.json"}, "doorbell.v1.json"},
		{[]string{"bearer." + alice}, ""},
		{[]string{"bearer." + alice + ", doorbell.v1.json"}, "doorbell.v1.json"},
		{[]string{"bearer." + alice, "doorbell.v1.json"}, "doorbell.v1.json"},
		{[]string{"mqtt, doorbell.v9.json"}, ""},
		{[]string{"mqtt, doorbell.v1.json"}, "doorbell.v1.json"},
		{[]string{"doorbell.v1.json, doorbell.v1.proto"}, "doorbell.v1.json"},
	} {
		c := h.open(http.Header{"Sec-Websocket-Protocol": tc.offered})
		if got := c.response.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ",") != tc.selected {
			t.Errorf("offered %q: selected %q, want %q", tc.offered, got, tc.selected)
		}
		c.hello()
		c.send(`{"subscribe":{"inbox:7429":""}}`)
		want := `{"subscribed":{},"denied":{"inbox:7429":"forbidden"}}`
		if strings.Contains(strings.Join(tc.offered, ","), "bearer.") {
			want = `{"subscribed":{"inbox:7429":null}}`
		}
		c.expect(want)
	}
}
