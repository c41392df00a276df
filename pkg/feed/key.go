package feed

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// MaxKeyLen is the longest an item's key may be, in bytes.
const MaxKeyLen = 256

// CheckKey tells whether s may be an item's key: 1 to 256 bytes of printable UTF-8, not "." or ".." (which
// URLs swallow). The error is a [*SyntaxError] that says what is allowed.
func CheckKey(s string) error {
	switch {
	case s == "":
		return keyError(s, "is empty")
	case len(s) > MaxKeyLen:
		return keyError(s, fmt.Sprintf("is %d bytes long", len(s)))
	case s == "." || s == "..":
		return keyError(s, "is a path step, which URLs swallow")
	case !utf8.ValidString(s):
		return keyError(s, "is not valid UTF-8")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return keyError(s, fmt.Sprintf("has the unprintable character %U", r))
		}
	}
	return nil
}

func keyError(s, problem string) error {
	return &SyntaxError{
		What: "key", Input: s, Problem: problem,
		Allowed: `1 to 256 bytes of printable UTF-8, not "." or ".."`,
	}
}
