package feed

import (
	"fmt"
	"strings"
)

const (
	// MaxNameLen is the longest a feed's name may be, in bytes.
	MaxNameLen = 128
	// MaxNamespaceLen is the longest the part before the first ':' may be, in bytes.
	MaxNamespaceLen = 32
)

// Name is a feed's name, such as "prices:BTC-KRW": parts joined by ':', of which the first is the namespace.
// It is one path segment of a URL without any escaping.
type Name string

// ParseName checks s. The error is a [*SyntaxError] that says what is allowed.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", nameError(s, "is empty")
	}
	if len(s) > MaxNameLen {
		return "", nameError(s, fmt.Sprintf("is %d bytes long", len(s)))
	}
	namespace, rest, more := strings.Cut(s, ":")
	if err := checkNamespace(namespace); err != "" {
		return "", nameError(s, err)
	}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ":")
		if part == "" {
			return "", nameError(s, "has an empty part")
		}
		for i := range len(part) {
			if !isNameByte(part[i]) {
				return "", nameError(s, fmt.Sprintf("has the byte %q", part[i:i+1]))
			}
		}
	}
	return Name(s), nil
}

// ParseNamespace checks s as a name's first part: [a-z][a-z0-9_-]{0,31}.
func ParseNamespace(s string) (string, error) {
	if problem := checkNamespace(s); problem != "" {
		return "", nameError(s, problem)
	}
	return s, nil
}

// Namespace is the part before the first ':' (the whole name where there is none); policy hangs on it.
func (n Name) Namespace() string {
	namespace, _, _ := strings.Cut(string(n), ":")
	return namespace
}

func (n Name) String() string { return string(n) }

func checkNamespace(s string) string {
	switch {
	case s == "":
		return "has an empty namespace"
	case len(s) > MaxNamespaceLen:
		return fmt.Sprintf("has a namespace of %d bytes", len(s))
	case s[0] < 'a' || s[0] > 'z':
		return "has a namespace that doesn't begin with a lower-case letter"
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fmt.Sprintf("has the byte %q in its namespace", s[i:i+1])
		}
	}
	return ""
}

func isNameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("._~@-", c) >= 0
}

func nameError(s, problem string) error {
	return &SyntaxError{
		What: "feed name", Input: s, Problem: problem,
		Allowed: "1 to 128 bytes, parts joined by ':'; the first part [a-z][a-z0-9_-]{0,31}, the others [A-Za-z0-9._~@-]+",
	}
}
