package wire_test

import (
	"math"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func TestMessages(t *testing.T) {
	head := feed.Cursor{Epoch: 1_000_000_000, Seq: math.MaxInt64}
	heads := []hub.FeedHead{{Feed: "a:1", Head: bus.At(head)}, {Feed: "b", Head: bus.At(feed.Cursor{})}, {Feed: "c"}}
	id := []byte(`"x"`)
	for got, want := range map[string]string{
		string(wire.AppendHello(nil, "s-1", 25000)):                                                                         `{"hello":{"session":"s-1","ping_ms":25000}}`,
		string(wire.AppendSubscribed(nil, id, heads, nil)):                                                                  `{"id":"x","subscribed":{"a:1":"` + head.String() + `","b":"","c":null}}`,
		string(wire.AppendSubscribed(nil, nil, nil, []wire.Denial{{Feed: "d", Reason: wire.Unavailable}})):                  `{"subscribed":{},"denied":{"d":"unavailable"}}`,
		string(wire.AppendUnsubscribed(nil, id, []feed.Name{"a", "b"})):                                                     `{"id":"x","unsubscribed":["a","b"]}`,
		string(wire.AppendDenied(nil, id, []feed.Name{"a", "b"})):                                                           `{"id":"x","denied":{"a":"forbidden","b":"forbidden"}}`,
		string(wire.AppendChanged(nil, []hub.FeedHead{{Feed: "a", Head: bus.At(feed.Cursor{}), Spread: 800}, {Feed: "b"}})): `{"changed":{"a":"","b":null},"spread":800}`,
		string(wire.AppendChanged(nil, heads[:1])):                                                                          `{"changed":{"a:1":"` + head.String() + `"}}`,
		string(wire.AppendChanged(nil, []hub.FeedHead{{Feed: "a", Head: bus.At(feed.Cursor{}), Spread: 8, Trace: "00-x"}})): `{"changed":{"a":""},"spread":8,"traceparent":"00-x"}`,
		string(wire.AppendChanged(nil, []hub.FeedHead{{Feed: "a", Trace: "00-x"}, {Feed: "b"}})):                            `{"changed":{"a":null,"b":null}}`,
		string(wire.AppendDegraded(nil, true)):                                                                              `{"degraded":true}`,
		string(wire.AppendGoaway(nil, "drain", 5000)):                                                                       `{"goaway":{"reason":"drain","in_ms":5000}}`,
		string(wire.AppendExpiring(nil, 60000)):                                                                             `{"expiring":{"in_ms":60000}}`,
		string(wire.AppendPong(nil, id, []byte("1e3"))):                                                                     `{"id":"x","pong":1e3}`,
		string(wire.AppendError(nil, nil, wire.Errorf("c", "say \"%s\"\n", "\xff"))):                                        `{"error":{"code":"c","detail":"say \"` + "\uFFFD" + `\"\n"}}`,
		string(wire.AppendClose(nil, wire.Close{Code: 1012, Reason: "so \"long\"\n"})):                                      `{"close":{"code":1012,"reason":"so \"long\"\n"}}`,
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
