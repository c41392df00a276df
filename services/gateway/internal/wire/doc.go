// Package wire is how commands and messages look in the subprotocols, doorbell.v1.json and doorbell.v1.proto: what clients may
// send, what they are told when they send something else, and the close codes of the socket.
//
//	text    client ──▶ Parse ────────▶ Command            JSON.Append… ───▶ client
//	binary  client ──▶ ParseBinary ──▶ Command            Proto.Append… ──▶ client
//
// A signal of one feed is {"changed":{"prices:BTC-KRW":"0k3f9xa-1044"}}: 45 bytes, and 2 of WebSocket. In binary it is the
// feed's number and the seq: 7 and 2.
package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what a client may send.
const (
	// MaxFrame is the largest command, in bytes.
	MaxFrame = 64 << 10
	// MaxFeeds is the most feeds in one command.
	MaxFeeds = 1000
	// MaxID is the longest id, in bytes as it was written (quotes included).
	MaxID = 64
	// maxDepth is how deep a message may be nested; commands need 2.
	maxDepth = 8
)

// Codes of errors.
const (
	// BadCommand: the message is not a command, and nothing of it was done. Ten in a row close the connection.
	BadCommand = "bad_command"
	// TooManyFeeds: the command, or the connection with it, would have too many feeds; nothing of it was done.
	TooManyFeeds = "too_many_feeds"
	// Forbidden: the command is understood and refused.
	Forbidden = "forbidden"
	// Unavailable: the command can't be carried out right now.
	Unavailable = "unavailable"
)

// Error is what is wrong with a command, in words for whoever sent it.
type Error struct {
	Code   string
	Detail string // valid UTF-8, at most about 500 bytes
}

func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// Errorf makes an Error.
func Errorf(code, format string, args ...any) *Error {
	const most = 500
	detail := strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")
	if len(detail) > most {
		detail = detail[:most]
		for !utf8.ValidString(detail) {
			detail = detail[:len(detail)-1]
		}
		detail += "…"
	}
	return &Error{Code: code, Detail: detail}
}

// Close codes of the socket.
const (
	CloseRestart   = 1012 // this node stops, or can't tell who it is; come back with backoff and full jitter
	CloseInternal  = 1011 // a mistake of ours
	CloseToken     = 4001 // the token is expired or invalid
	CloseForbidden = 4003
	CloseDead      = 4008 // accepted no byte for too long
	CloseMalformed = 4009 // command too large, or malformed too often
	CloseTooMany   = 4029 // too many connections or commands; the reason is when to come back, such as "5000 ms"
)

// Close is a reason to end a connection.
type Close struct {
	Code   int
	Reason string // at most 123 bytes
}

func (c *Close) Error() string { return fmt.Sprintf("closed with %d: %s", c.Code, c.Reason) }
