package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what names tokens and subjects, in bytes.
const (
	MaxSubject = 256
	MaxTokenID = 128
)

// Plain tells whether s has at most so many bytes, and can stand in a log, a line, and a URL's escape without surprise: it is UTF-8,
// without control characters, and without what stands for bytes that could not be read. A token whose subject or id is not plain is
// not accepted, so whatever is accepted can be revoked.
func Plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }) < 0
}
