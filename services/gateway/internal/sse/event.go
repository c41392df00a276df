package sse

import (
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// Events is the encoding of events: each is called as the member of the JSON message that is its data.
var Events wire.Encoding = events{}

// Form is how signals look in an answer.
var Form hub.Form = form{}

type form struct{}

func (form) AppendSignal(b []byte, h hub.FeedHead) []byte {
	return Events.AppendChanged(b, []hub.FeedHead{h})
}

type events struct{}

// event appends the lines of one event. JSON has no line breaks, so that data is one line.
func event(b []byte, name string, data func(b []byte) []byte) []byte {
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = data(b)
	return append(b, "\n\n"...)
}

// Parse refuses: nothing is received here.
func (events) Parse([]byte, bool) (wire.Command, error) {
	return wire.Command{}, wire.Errorf(wire.BadCommand, "events go one way")
}

func (events) AppendHello(b []byte, session string, pingMillis int64) []byte {
	return event(b, "hello", func(b []byte) []byte { return wire.AppendHello(b, session, pingMillis) })
}

func (events) AppendSubscribed(b, id []byte, heads []hub.FeedHead, denied []wire.Denial) []byte {
	return event(b, "subscribed", func(b []byte) []byte { return wire.AppendSubscribed(b, id, heads, denied) })
}

func (events) AppendUnsubscribed(b, id []byte, feeds []feed.Name) []byte {
	return event(b, "unsubscribed", func(b []byte) []byte { return wire.AppendUnsubscribed(b, id, feeds) })
}

func (events) AppendDenied(b, id []byte, denied []feed.Name) []byte {
	return event(b, "denied", func(b []byte) []byte { return wire.AppendDenied(b, id, denied) })
}

func (events) AppendChanged(b []byte, heads []hub.FeedHead) []byte {
	return event(b, "changed", func(b []byte) []byte { return wire.AppendChanged(b, heads) })
}

func (events) AppendDegraded(b []byte, degraded bool) []byte {
	return event(b, "degraded", func(b []byte) []byte { return wire.AppendDegraded(b, degraded) })
}

func (events) AppendExpiring(b []byte, inMillis int64) []byte {
	return event(b, "expiring", func(b []byte) []byte { return wire.AppendExpiring(b, inMillis) })
}

func (events) AppendGoaway(b []byte, reason string, inMillis int64) []byte {
	return event(b, "goaway", func(b []byte) []byte { return wire.AppendGoaway(b, reason, inMillis) })
}

func (events) AppendPong(b, id, n []byte) []byte {
	return event(b, "pong", func(b []byte) []byte { return wire.AppendPong(b, id, n) })
}

func (events) AppendError(b, id []byte, e *wire.Error) []byte {
	return event(b, "error", func(b []byte) []byte { return wire.AppendError(b, id, e) })
}

// appendClose is the last event.
func appendClose(b []byte, c wire.Close) []byte {
	return event(b, "close", func(b []byte) []byte { return wire.AppendClose(b, c) })
}
