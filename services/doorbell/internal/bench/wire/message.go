package wire

import (
	"bytes"
	"strconv"
)

// Kind is what a message of the gateway says, as far as a load generator cares.
type Kind uint8

// The kinds of messages.
const (
	Other      Kind = iota // hello, pong, unsubscribed
	Changed                // and its Head
	Subscribed             // and its Head; Known is false where the gateway doesn't know it
	GoAway                 // and its InMillis
	Degraded
	Refused // an error, or denied
)

// Message is what was read of one.
type Message struct {
	Kind     Kind
	Head     Cursor
	Known    bool
	InMillis int64
	Spread   int64 // ms within which to pull
}

// ParseMessage reads a message about at most one feed. It looks for what the gateway writes rather than parsing JSON: the
// client has to be cheaper than the server. What it doesn't know is Other.
func ParseMessage(b []byte) Message {
	switch {
	case bytes.HasPrefix(b, []byte(`{"changed":{`)):
		m := Message{Kind: Changed}
		m.Head, m.Known = firstHead(b[len(`{"changed":{`):])
		if _, rest, ok := bytes.Cut(b, []byte(`"spread":`)); ok {
			m.Spread = number(rest)
		}
		return m
	case bytes.Contains(b, []byte(`"denied":{"`)), bytes.Contains(b, []byte(`"error":{`)):
		return Message{Kind: Refused}
	case bytes.HasPrefix(b, []byte(`{"goaway":`)):
		_, rest, _ := bytes.Cut(b, []byte(`"in_ms":`))
		return Message{Kind: GoAway, InMillis: number(rest)}
	case bytes.HasPrefix(b, []byte(`{"degraded":true`)):
		return Message{Kind: Degraded}
	}
	if _, rest, ok := bytes.Cut(b, []byte(`"subscribed":{`)); ok {
		m := Message{Kind: Subscribed}
		m.Head, m.Known = firstHead(rest)
		return m
	}
	return Message{}
}

// HeadOf reads what a message about several feeds says of one.
func HeadOf(b []byte, feed string) (Cursor, bool) {
	_, rest, ok := bytes.Cut(b, []byte(`"`+feed+`":"`))
	if !ok {
		return Cursor{}, false
	}
	text, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return Cursor{}, false
	}
	return ParseCursor(text)
}

// firstHead reads the cursor of `"feed":"cursor"`; names and cursors have nothing that JSON would escape.
func firstHead(b []byte) (Cursor, bool) {
	if len(b) == 0 || b[0] != '"' {
		return Cursor{}, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return Cursor{}, false
	}
	b = b[1+end+1:]
	if len(b) < 3 || b[0] != ':' || b[1] != '"' {
		return Cursor{}, false
	}
	b = b[2:]
	if end = bytes.IndexByte(b, '"'); end < 0 {
		return Cursor{}, false
	}
	return ParseCursor(b[:end])
}

func number(b []byte) int64 {
	end := 0
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		end++
	}
	n, _ := strconv.ParseInt(string(b[:end]), 10, 64) // too long is as good as none
	return n
}
