package redisbus

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func FuzzParse(f *testing.F) {
	k := newKeys("doorbell")
	f.Add("-")
	f.Add("0k3f9xa-1042")
	f.Add("0k3f9xa-1042~1050")
	f.Add(question{id: "a1", reply: in(k.node, "b2"), names: []feed.Name{"a", "prices:BTC-KRW"}}.String())
	f.Add("a1 doorbell:node:{b2} a  b")
	f.Add(in(k.signal, "a:b"))
	f.Add("0k3f9xa-1042 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, s string) {
		if h := parseHead(s); h.Known && headText(h.Cursor) != s {
			t.Errorf("the head %q was read as %v", s, h)
		}
		if h, trace := parseSignal(s); trace != "" && (!h.Known || len(trace) != bus.TraceBytes || headText(h.Cursor)+" "+trace != s) {
			t.Errorf("the signal %q was read as %v, %q", s, h, trace)
		}
		if q, ok := k.parseQuestion(s); ok && (q.String() != s || len(q.names) == 0 || len(q.names) > batch) {
			t.Errorf("the question %q was read as %+v", s, q)
		}
		if name, ok := k.signalled(s); ok && in(k.signal, string(name)) != s {
			t.Errorf("the channel %q was read as that of %q", s, name)
		}
	})
}

func TestParse(t *testing.T) {
	k := newKeys("doorbell")
	for s, want := range map[string]bus.Head{
		"-": bus.At(feed.Cursor{}), "0k3f9xa-7": bus.At(feed.Cursor{Epoch: 1233440110, Seq: 7}),
		"": {}, "0k3f9xa-7~9": {}, "0k3f9xa-07": {}, "x": {},
	} {
		if got := parseHead(s); got.Known != want.Known || got.Known && s != "0k3f9xa-7" && got != want {
			t.Errorf("parseHead(%q) = %v", s, got)
		}
	}
	full := strings.Repeat(" a", batch)
	for s, want := range map[string]bool{
		"id doorbell:node:{n} a b:c": true, "id doorbell:node:{n}" + full: true,
		"id doorbell:node:{n}" + full + " a": false, "id doorbell:node:{n}": false, "id doorbell:node:{n} ": false,
		"id elsewhere a": false, "ID doorbell:node:{n} a": false, " doorbell:node:{n} a": false, "": false,
		"id doorbell:node:{n} a B": false, "id doorbell:node:{n}  a": false, "id doorbell:node:{n a": false,
	} {
		if _, ok := k.parseQuestion(s); ok != want {
			t.Errorf("parseQuestion(%.40q) = %t, want %t", s, ok, want)
		}
	}
}

// TestParseSignal: a head counts whatever stands behind it, and only a trace is one.
func TestParseSignal(t *testing.T) {
	const head, trace = "0k3f9xa-7", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for s, want := range map[string]struct {
		known bool
		trace string
	}{
		head: {true, ""}, head + " " + trace: {true, trace}, "- " + trace: {true, trace},
		head + " ": {true, ""}, head + "  " + trace: {true, ""}, head + " " + trace + " x": {true, ""}, head + " " + trace[:54]: {true, ""},
		head + " " + strings.Repeat("0", 1<<20): {true, ""}, head + " " + strings.ToUpper(trace): {true, ""},
		head + " 01" + trace[2:]: {true, ""}, head + " 00-" + strings.Repeat("0", 32) + trace[35:]: {true, ""},
		"x " + trace: {false, ""}, trace: {false, ""}, " " + trace: {false, ""}, "": {false, ""},
	} {
		if h, got := parseSignal(s); h.Known != want.known || got != want.trace {
			t.Errorf("parseSignal(%.80q) = %v, %q", s, h, got)
		}
	}
}

// TestALifeDialsOnce: go-redis would reconnect without a word.
func TestALifeDialsOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	dial := func(context.Context, string, string) (net.Conn, error) {
		conn, _ := net.Pipe()
		return conn, nil
	}
	for _, killed := range []bool{false, true} {
		l := newLife(t.Context(), client)
		if killed {
			l.kill(errSilent)
		} else if _, err := l.dial(t.Context(), dial, "", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := l.dial(t.Context(), dial, "", ""); !errors.Is(err, errOver) {
			t.Errorf("the second dial: %v", err)
		}
		l.kill(nil)
		_ = l.pubsub.Close()
	}
}
