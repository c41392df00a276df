package wire

import (
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// Each Append function appends one whole message to b. An id is that of the [Command] that is answered; nil: none.

// AppendHello says who is there: the session's id, for logs, and how often the server pings, in ms.
func AppendHello(b []byte, session string, pingMillis int64) []byte {
	b = append(b, `{"hello":{"session":`...)
	b = appendString(b, session)
	b = append(b, `,"ping_ms":`...)
	b = strconv.AppendInt(b, pingMillis, 10)
	return append(b, "}}"...)
}

// Denial is a feed that isn't followed, and why: Forbidden, or Unavailable when nobody can tell right now.
type Denial struct {
	Feed   feed.Name
	Reason string
}

// AppendSubscribed answers a subscribe: the heads of what is followed now, and what isn't and why.
func AppendSubscribed(b, id []byte, heads []hub.FeedHead, denied []Denial) []byte {
	b = appendID(b, id)
	b = append(b, `"subscribed":`...)
	b = appendHeads(b, heads)
	if len(denied) > 0 {
		b = append(b, ',')
		b = appendDenied(b, denied)
	}
	return append(b, '}')
}

// AppendUnsubscribed answers an unsubscribe: of these feeds nothing more is told.
func AppendUnsubscribed(b, id []byte, feeds []feed.Name) []byte {
	b = appendID(b, id)
	b = append(b, `"unsubscribed":[`...)
	for i, name := range feeds {
		b = comma(b, i)
		b = appendName(b, name)
	}
	return append(b, "]}"...)
}

// AppendDenied answers an auth: feeds that the new token doesn't allow any more, of which nothing more is told.
func AppendDenied(b, id []byte, denied []feed.Name) []byte {
	b = appendID(b, id)
	return append(appendDenied(b, forbidden(denied)), '}')
}

func forbidden(feeds []feed.Name) []Denial {
	all := make([]Denial, len(feeds))
	for i, name := range feeds {
		all[i] = Denial{name, Forbidden}
	}
	return all
}

// AppendChanged is the signal.
func AppendChanged(b []byte, heads []hub.FeedHead) []byte {
	b = append(b, `{"changed":`...)
	b = appendHeads(b, heads)
	if spread := longestSpread(heads); spread > 0 {
		b = append(b, `,"spread":`...)
		b = strconv.AppendUint(b, uint64(spread), 10)
	}
	if trace := traceOf(heads); trace != "" {
		b = append(b, `,"traceparent":"`...)
		b = append(b, trace...) // nothing that JSON would escape
		b = append(b, '"')
	}
	return append(b, '}')
}

// traceOf is the trace that a message of these heads carries. One of several feeds, which may each be part of another, has none.
func traceOf(heads []hub.FeedHead) string {
	if len(heads) != 1 {
		return ""
	}
	return heads[0].Trace
}

// longestSpread is that of all heads of one message.
func longestSpread(heads []hub.FeedHead) (spread uint32) {
	for _, h := range heads {
		spread = max(spread, h.Spread)
	}
	return spread
}

// AppendDegraded says whether the client had better poll as well.
func AppendDegraded(b []byte, degraded bool) []byte {
	b = append(b, `{"degraded":`...)
	b = strconv.AppendBool(b, degraded)
	return append(b, '}')
}

// AppendExpiring says that the token ends so many ms from now.
func AppendExpiring(b []byte, inMillis int64) []byte {
	b = append(b, `{"expiring":{"in_ms":`...)
	b = strconv.AppendInt(b, inMillis, 10)
	return append(b, "}}"...)
}

// AppendGoaway asks the client to connect again at a random moment within so many ms; the reason is one word.
func AppendGoaway(b []byte, reason string, inMillis int64) []byte {
	b = append(b, `{"goaway":{"reason":`...)
	b = appendString(b, reason)
	b = append(b, `,"in_ms":`...)
	b = strconv.AppendInt(b, inMillis, 10)
	return append(b, "}}"...)
}

// AppendClose says why there is no more, where no close frame can.
func AppendClose(b []byte, c Close) []byte {
	b = append(b, `{"close":{"code":`...)
	b = strconv.AppendInt(b, int64(c.Code), 10)
	b = append(b, `,"reason":`...)
	b = appendString(b, c.Reason)
	return append(b, "}}"...)
}

// AppendPong answers a ping with its number.
func AppendPong(b, id, n []byte) []byte {
	b = appendID(b, id)
	b = append(b, `"pong":`...)
	b = append(b, n...)
	return append(b, '}')
}

// AppendError answers a command that was not carried out.
func AppendError(b, id []byte, e *Error) []byte {
	b = appendID(b, id)
	b = append(b, `"error":{"code":`...)
	b = appendString(b, e.Code)
	b = append(b, `,"detail":`...)
	b = appendString(b, e.Detail)
	return append(b, "}}"...)
}

func appendID(b, id []byte) []byte {
	b = append(b, '{')
	if len(id) > 0 {
		b = append(b, `"id":`...)
		b = append(b, id...)
		b = append(b, ',')
	}
	return b
}

func appendHeads(b []byte, heads []hub.FeedHead) []byte {
	b = append(b, '{')
	for i, h := range heads {
		b = comma(b, i)
		b = appendName(b, h.Feed)
		b = append(b, ':')
		if !h.Head.Known {
			b = append(b, "null"...)
			continue
		}
		b = append(b, '"')
		b = h.Head.Cursor.Append(b)
		b = append(b, '"')
	}
	return append(b, '}')
}

func appendDenied(b []byte, denied []Denial) []byte {
	b = append(b, `"denied":{`...)
	for i, d := range denied {
		b = comma(b, i)
		b = appendName(b, d.Feed)
		b = append(b, `:"`...)
		b = append(b, d.Reason...)
		b = append(b, '"')
	}
	return append(b, '}')
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// appendName needs no escapes: names have none of the bytes that JSON would escape.
func appendName(b []byte, name feed.Name) []byte {
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"')
}

// appendString appends s as JSON; what isn't UTF-8 in it is replaced.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the only error is about UTF-8
	return b
}

// quote keeps a client's text short and printable.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.QuoteToGraphic(s)
	}
	s = s[:most]
	for !utf8.ValidString(s) && len(s) > most-utf8.UTFMax {
		s = s[:len(s)-1]
	}
	return strconv.QuoteToGraphic(s) + "…"
}
