package feed

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"prices:BTC-KRW", "a", "a::b", "A", "a:b c", "", strings.Repeat("a:", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if err != nil {
			return
		}
		if string(name) != s || len(s) > MaxNameLen || strings.ContainsAny(s, "/?#% \x00") {
			t.Errorf("%q was taken as %q", s, name)
		}
		if _, err := ParseNamespace(name.Namespace()); err != nil {
			t.Errorf("the namespace of %q: %v", s, err)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"0k3f9xa-1042", "0k3f9xa-7~1042", "0k3f9xa-01", "0000000-1", "zzzzzzz-9223372036854775808", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		if c.String() != s || c.IsZero() || c.Seq < 0 || c.Base < 0 || c.Epoch > MaxEpoch {
			t.Errorf("%q was taken as %+v, which reads %q", s, c, c)
		}
	})
}

func FuzzCheckKey(f *testing.F) {
	for _, s := range []string{"last", "a/b", ".", "..", "é", "\xff", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckKey(s) == nil && (s == "" || len(s) > MaxKeyLen || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\r")) {
			t.Errorf("%q was taken as a key", s)
		}
	})
}
