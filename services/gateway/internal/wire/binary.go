package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	doorbellv1 "github.com/doorbell-sync/doorbell/proto/doorbell/v1"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// Proto is the encoding of doorbell.v1.proto, as proto/doorbell/v1/signals.proto says. A signal of one feed is its number and
// seq: 4 to 14 bytes, and 2 of WebSocket. Numbers are those of [hub.FeedHead].
//
// An id and the number of a ping are kept as varints.
var Proto Encoding = binaryProto{}

type binaryProto struct{}

func (binaryProto) Parse(message []byte, binary bool) (Command, error) {
	if !binary {
		return Command{}, Errorf(BadCommand, "the message is text; allowed: binary")
	}
	return ParseBinary(message)
}

func (binaryProto) AppendHello(b []byte, session string, pingMillis int64) []byte {
	return appendMessage(b, nil, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Hello{
		Hello: &doorbellv1.Hello{Session: session, PingMs: uint32(pingMillis)},
	}})
}

func (binaryProto) AppendSubscribed(b, id []byte, heads []hub.FeedHead, denied []Denial) []byte {
	answer := &doorbellv1.Subscribed{Heads: make([]*doorbellv1.Head, len(heads))}
	for i, h := range heads {
		answer.Heads[i] = wholeHead(h)
		answer.Heads[i].Name = string(h.Feed)
	}
	if len(denied) > 0 {
		answer.Denied = whyDenied(denied)
	}
	return appendMessage(b, id, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Subscribed{Subscribed: answer}})
}

func (binaryProto) AppendUnsubscribed(b, id []byte, feeds []feed.Name) []byte {
	names := make([]string, len(feeds))
	for i, name := range feeds {
		names[i] = string(name)
	}
	return appendMessage(b, id, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Unsubscribed{
		Unsubscribed: &doorbellv1.Unsubscribe{Feeds: names},
	}})
}

func (binaryProto) AppendDenied(b, id []byte, denied []feed.Name) []byte {
	return appendMessage(b, id, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Denied{
		Denied: &doorbellv1.Denied{Feeds: whyDenied(forbidden(denied))},
	}})
}

func (binaryProto) AppendChanged(b []byte, heads []hub.FeedHead) []byte {
	if len(heads) == 1 && compact(heads[0]) && heads[0].Spread == 0 && heads[0].Trace == "" {
		b = protowire.AppendTag(b, fieldFeed, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(heads[0].Number))
		b = protowire.AppendTag(b, fieldSeq, protowire.VarintType)
		return protowire.AppendVarint(b, uint64(heads[0].Head.Cursor.Seq))
	}
	changed := &doorbellv1.Changed{SpreadMs: longestSpread(heads), Traceparent: traceOf(heads)}
	for _, h := range heads {
		if compact(h) {
			changed.Signals = append(changed.Signals, &doorbellv1.Signal{Feed: h.Number, Seq: uint64(h.Head.Cursor.Seq)})
		} else {
			changed.Heads = append(changed.Heads, wholeHead(h))
		}
	}
	return appendMessage(b, nil, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Changed{Changed: changed}})
}

func (binaryProto) AppendDegraded(b []byte, degraded bool) []byte {
	return appendMessage(b, nil, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Degraded{Degraded: degraded}})
}

func (binaryProto) AppendGoaway(b []byte, reason string, inMillis int64) []byte {
	return appendMessage(b, nil, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Goaway{
		Goaway: &doorbellv1.Goaway{Reason: reason, InMs: uint32(inMillis)},
	}})
}

func (binaryProto) AppendExpiring(b []byte, inMillis int64) []byte {
	return appendMessage(b, nil, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Expiring{
		Expiring: &doorbellv1.Expiring{InMs: uint32(inMillis)},
	}})
}

func (binaryProto) AppendPong(b, id, n []byte) []byte {
	number, _ := protowire.ConsumeVarint(n)
	return appendMessage(b, id, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Pong{Pong: number}})
}

func (binaryProto) AppendError(b, id []byte, e *Error) []byte {
	return appendMessage(b, id, &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Error{
		Error: &doorbellv1.Error{Code: e.Code, Detail: e.Detail},
	}})
}

// compact tells whether the seq says it all: the client knows the epoch, and there is one.
func compact(h hub.FeedHead) bool { return !h.NewEpoch && h.Head.Known && h.Head.Cursor.Epoch != 0 }

// wholeHead is without the name: only subscribed says that.
func wholeHead(h hub.FeedHead) *doorbellv1.Head {
	return &doorbellv1.Head{Feed: h.Number, Cursor: h.Head.Cursor.String(), Unknown: !h.Head.Known}
}

func whyDenied(denied []Denial) map[string]string {
	why := make(map[string]string, len(denied))
	for _, d := range denied {
		why[string(d.Feed)] = d.Reason
	}
	return why
}

// appendMessage can't fail: the only error is about text that isn't UTF-8, and names, codes and details are.
func appendMessage(b, id []byte, m *doorbellv1.ServerMessage) []byte {
	m.Id, _ = protowire.ConsumeVarint(id)
	whole, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m)
	if err != nil {
		return b
	}
	return whole
}
