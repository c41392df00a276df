package wire

import (
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// Encoding is how commands and messages look in one subprotocol. Each Append method appends one whole message to b. An id is
// that of the [Command] that is answered; nil: none. Encodings are static, and compared by identity.
//
//nolint:interfacebloat // a method for each message of the protocol
type Encoding interface {
	// Parse reads a command from a frame, binary or text. The error is an [*Error]; the command then has its ID, if that
	// could be read, and nothing else. Nothing in the command refers to message.
	Parse(message []byte, binary bool) (Command, error)

	AppendHello(b []byte, session string, pingMillis int64) []byte
	AppendSubscribed(b, id []byte, heads []hub.FeedHead, denied []Denial) []byte
	AppendUnsubscribed(b, id []byte, feeds []feed.Name) []byte
	AppendDenied(b, id []byte, denied []feed.Name) []byte
	AppendChanged(b []byte, heads []hub.FeedHead) []byte
	AppendDegraded(b []byte, degraded bool) []byte
	AppendExpiring(b []byte, inMillis int64) []byte
	AppendGoaway(b []byte, reason string, inMillis int64) []byte
	AppendPong(b, id, n []byte) []byte
	AppendError(b, id []byte, e *Error) []byte
}

// JSON is the encoding of doorbell.v1.json.
var JSON Encoding = textJSON{}

type textJSON struct{}

func (textJSON) Parse(message []byte, binary bool) (Command, error) {
	if binary {
		return Command{}, Errorf(BadCommand, "the message is binary; allowed: text")
	}
	return Parse(message)
}

func (textJSON) AppendHello(b []byte, session string, pingMillis int64) []byte {
	return AppendHello(b, session, pingMillis)
}

func (textJSON) AppendSubscribed(b, id []byte, heads []hub.FeedHead, denied []Denial) []byte {
	return AppendSubscribed(b, id, heads, denied)
}

func (textJSON) AppendUnsubscribed(b, id []byte, feeds []feed.Name) []byte {
	return AppendUnsubscribed(b, id, feeds)
}

func (textJSON) AppendDenied(b, id []byte, denied []feed.Name) []byte {
	return AppendDenied(b, id, denied)
}

func (textJSON) AppendChanged(b []byte, heads []hub.FeedHead) []byte { return AppendChanged(b, heads) }

func (textJSON) AppendDegraded(b []byte, degraded bool) []byte { return AppendDegraded(b, degraded) }

func (textJSON) AppendExpiring(b []byte, inMillis int64) []byte { return AppendExpiring(b, inMillis) }

func (textJSON) AppendGoaway(b []byte, reason string, inMillis int64) []byte {
	return AppendGoaway(b, reason, inMillis)
}

func (textJSON) AppendPong(b, id, n []byte) []byte { return AppendPong(b, id, n) }

func (textJSON) AppendError(b, id []byte, e *Error) []byte { return AppendError(b, id, e) }
