package gateway_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// publishIn is publish in another epoch.
func (h *harness) publishIn(epoch feed.Epoch, name feed.Name, seq int64) string {
	h.t.Helper()
	c := feed.Cursor{Epoch: epoch, Seq: seq}
	if err := h.bus.Publish(context.Background(), name, c); err != nil {
		h.t.Fatal(err)
	}
	return `"` + c.String() + `"`
}

// TestBothCrowds: clients of both encodings on one feed are told the same, each by frames of its own; a binary one takes 16
// bytes at most, its head included. A new epoch comes whole, and seqs alone after that.
func TestBothCrowds(t *testing.T) {
	t.Parallel()
	h := start(t)
	var all []*client
	for range 20 {
		all = append(all, h.dial(""), h.dialBinary(""))
	}
	h.publish("prices:a", 1)
	for _, c := range all {
		c.send(`{"subscribe":{"prices:a":""}}`)
		c.expect(`{"subscribed":{"prices:a":` + at(1) + `}}`)
	}
	expect := func(head string, most int) {
		t.Helper()
		for _, c := range all {
			c.expect(`{"changed":{"prices:a":` + head + `}}`)
			if c.binary != nil && c.binary.size > most {
				t.Fatalf("%d bytes", c.binary.size)
			}
		}
	}
	h.publish("prices:a", 1_000_000_000)
	expect(at(1_000_000_000), 14)
	expect(h.publishIn(1_000_000_001, "prices:a", 0), 64)
	expect(h.publishIn(1_000_000_001, "prices:a", 1), 14)
	expect(h.publishIn(2_000_000_000, "prices:a", 7), 64)
}

// TestNumbersAreAnnouncedAgain: a feed that is left and followed again may have another number, and its old one may be that of
// another feed by then.
func TestNumbersAreAnnouncedAgain(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.Linger = time.Millisecond })
	c, other := h.dialBinary(""), h.dialBinary("")
	follow := func(c *client, name string) uint32 {
		t.Helper()
		c.send(`{"subscribe":{"` + name + `":""}}`)
		c.next()
		for number, n := range c.binary.names {
			if n == name {
				return number
			}
		}
		t.Fatal("no number was announced for " + name)
		return 0
	}
	first := follow(c, "prices:a")
	c.send(`{"id":1,"unsubscribe":["prices:a"]}`)
	c.next()
	h.eventually("the feed is forgotten", func() bool { return h.Status().Feeds == 0 })
	if got := follow(other, "prices:b"); got != first {
		t.Errorf("the number %d lies idle, and the next feed has %d", first, got)
	}
	delete(c.binary.names, first)
	if got := follow(c, "prices:a"); got == first {
		t.Errorf("two feeds have the number %d", got)
	}
	h.publish("prices:a", 1)
	h.publish("prices:b", 2)
	c.expect(`{"changed":{"prices:a":` + at(1) + `}}`)
	other.expect(`{"changed":{"prices:b":` + at(2) + `}}`)
	h.publish("prices:a", 3)
	c.expect(`{"changed":{"prices:a":` + at(3) + `}}`)

	again := follow(other, "prices:b") // still followed: the same number, announced again
	if again != first {
		t.Errorf("the number went from %d to %d", first, again)
	}
	c.expectNothing(h)
	other.expectNothing(h)
}

func TestBadBinaryCommandsChangeNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.dialBinary("")
	c.send(`{"subscribe":{"prices:a":""}}`)
	c.expect(`{"subscribed":{"prices:a":null}}`)
	for _, tc := range []struct {
		send  string
		kind  int
		words []string
	}{
		{`{"ping":1}`, websocket.TextMessage, []string{"text", "binary"}},
		{`{"ping":1}`, websocket.BinaryMessage, []string{"malformed"}},
		{"\x12\x0e\x0a\x0c\x0a\x08prices:b\x12\x00\x30\x01", websocket.BinaryMessage, []string{"unknown field 6"}},
		{"\x12\x07\x0a\x05\x0a\x03A b", websocket.BinaryMessage, []string{"A b", "[a-z][a-z0-9_-]{0,31}"}},
		{"", websocket.BinaryMessage, []string{"no command"}},
	} {
		if err := c.WriteMessage(tc.kind, []byte(tc.send)); err != nil {
			t.Fatal(err)
		}
		c.expectError("", "bad_command", tc.words...)
	}
	h.publish("prices:b", 1)
	c.expectNothing(h)
	h.publish("prices:a", 1)
	c.expect(`{"changed":{"prices:a":` + at(1) + `}}`)

	for range 10 {
		if err := c.WriteMessage(websocket.TextMessage, []byte(`{"ping":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	c.expectClose(4009)

	c = h.dialBinary("")
	if err := c.WriteMessage(websocket.BinaryMessage, bytes.Repeat([]byte{0x22}, 64<<10+1)); err != nil {
		t.Fatal(err)
	}
	c.expectClose(4009)

	c = h.dialBinary("")
	c.send(strings.Replace(subscribeTo(0, 1001), "{", `{"id":9,`, 1))
	c.expectError("9", "too_many_feeds", "1000")
}
