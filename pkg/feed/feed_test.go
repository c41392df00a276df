package feed

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseName(t *testing.T) {
	long := "n:" + strings.Repeat("x", MaxNameLen-2)
	for _, good := range []string{
		"a", "orders", "prices:BTC-KRW", "inbox:7429", "a_b-9:A.b~c@D_e-f:0", "n:..", long,
		strings.Repeat("a", MaxNamespaceLen),
	} {
		if name, err := ParseName(good); err != nil || string(name) != good {
			t.Errorf("ParseName(%q) = %q, %v; want it taken", good, name, err)
		}
	}
	for _, bad := range []string{
		"", ":", "a:", ":a", "a::b", "A", "9a", "-a", "Prices:x", "a b", "a:b c", "a:b/c", "a:é", "a:\x00", "a:%2F", "a:b+c",
		"a.b", "a~b", "a@b", long + "x", strings.Repeat("a", MaxNamespaceLen+1), "a:b\n",
	} {
		_, err := ParseName(bad)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Allowed == "" || syntax.Problem == "" {
			t.Errorf("ParseName(%q): %v; want a SyntaxError that says what is allowed", bad, err)
		}
	}
	if ns := Name("a:b:c").Namespace(); ns != "a" {
		t.Errorf("the namespace of a:b:c is %q", ns)
	}
	if ns := Name("orders").Namespace(); ns != "orders" {
		t.Errorf("the namespace of orders is %q", ns)
	}
}

func TestParseCursor(t *testing.T) {
	for text, want := range map[string]Cursor{
		"0k3f9xa-1042":                {Epoch: 1215075070, Seq: 1042},
		"0000001-0":                   {Epoch: 1, Seq: 0},
		"zzzzzzz-9223372036854775807": {Epoch: MaxEpoch, Seq: math.MaxInt64},
		"0k3f9xa-7~1042":              {Epoch: 1215075070, Seq: 7, Base: 1042},
	} {
		got, err := ParseCursor(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseCursor(%q) = %+v, %v; want %+v and the same text again", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "-", "0k3f9xa", "0k3f9xa-", "-1042", "0K3F9XA-1", "0k3f9x-1", "0k3f9xaa-1", "0000000-1", "0k3f9xa-01", "0k3f9xa-+1",
		"0k3f9xa--1", "0k3f9xa-9223372036854775808", "0k3f9xa-18446744073709551616", "0k3f9xa-1~", "0k3f9xa-1~0", "0k3f9xa-1~02",
		"0k3f9xa-1~2~3", "0k3f9xa-1 ", " 0k3f9xa-1", "0k3f9xa-1e3", "0k3f9xa-١", "1042",
	} {
		_, err := ParseCursor(bad)
		if _, ok := errors.AsType[*SyntaxError](err); !ok {
			t.Errorf("ParseCursor(%q): %v; want a SyntaxError", bad, err)
		}
	}
	if c, err := ParseOptionalCursor(""); err != nil || !c.IsZero() || c.String() != "" {
		t.Errorf(`ParseOptionalCursor("") = %v, %v`, c, err)
	}
}

func TestCursorsCompareEpochsFirstAndSeqsAsNumbers(t *testing.T) {
	ordered := []Cursor{{}, {Epoch: 1, Seq: 0}, {Epoch: 1, Seq: 9}, {Epoch: 1, Seq: 10}, {Epoch: 2, Seq: 0}, {Epoch: 2, Seq: 1}}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := a.Compare(b), sign(i-j); got != want {
				t.Errorf("%q to %q compares as %d; want %d", a, b, got, want)
			}
			if a.Covers(b) != (i >= j) {
				t.Errorf("%q covers %q: %v", a, b, a.Covers(b))
			}
		}
	}
}

func sign(n int) int { return max(-1, min(1, n)) }

func TestEpochs(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	first := NextEpoch(0, now)
	if second := NextEpoch(first, now); second != first+1 {
		t.Errorf("two epochs in one tick: %s and %s; want the next one", first, second)
	}
	if back := NextEpoch(first, now.Add(-time.Hour)); back != first+1 {
		t.Errorf("with the clock an hour back: %s after %s; want the next one", back, first)
	}
	if later := NextEpoch(first, now.Add(time.Second)); later != first+10 {
		t.Errorf("a second later: %s after %s; want ten more", later, first)
	}
	if before := NextEpoch(0, time.Time{}); before != 1 {
		t.Errorf("before 2020: %s; want the first one", before)
	}
	var texts []string
	for d := time.Duration(0); d < 200*365*24*time.Hour; d += 1001 * time.Hour {
		texts = append(texts, NextEpoch(0, now.Add(d)).String())
	}
	if !slices.IsSorted(texts) || len(texts[0]) != epochWidth || len(texts[len(texts)-1]) != epochWidth {
		t.Error("epochs do not sort by time as texts")
	}
}

func TestCheckKey(t *testing.T) {
	for _, good := range []string{"a", "a b", "a/b", "...", "é😀", "%2F", strings.Repeat("x", MaxKeyLen), `"`, "~"} {
		if err := CheckKey(good); err != nil {
			t.Errorf("CheckKey(%q): %v; want it taken", good, err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "a\x00", "a\n", "\t", "\x7f", "\xff", "a\u200b", "\u2028", strings.Repeat("x", MaxKeyLen+1),
	} {
		var syntax *SyntaxError
		if err := CheckKey(bad); !errors.As(err, &syntax) {
			t.Errorf("CheckKey(%q): %v; want a SyntaxError", bad, err)
		}
	}
}

func TestErrorsQuoteBadInputShortAndPrintable(t *testing.T) {
	_, err := ParseName(strings.Repeat("é\x00", 10_000))
	if msg := err.Error(); len(msg) > 600 || strings.ContainsAny(msg, "\x00é") {
		t.Errorf("the message is %d bytes: %.200q", len(msg), msg)
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		scope Scope
		name  Name
		want  bool
	}{
		{Scope{}, "a", false},
		{Scope{Except: true}, "a", true},
		{Scope{Namespaces: []string{"a"}}, "a:b", true},
		{Scope{Namespaces: []string{"a"}}, "ab", false},
		{Scope{Namespaces: []string{"a"}, Except: true}, "a:b", false},
		{Scope{Namespaces: []string{"a"}, Except: true}, "b", true},
	} {
		if got := c.scope.Holds(c.name); got != c.want {
			t.Errorf("%+v holds %s: %v; want %v", c.scope, c.name, got, c.want)
		}
	}
}
