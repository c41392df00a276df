package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		name    feed.Name
		want    bool
	}{
		{"*", "anything:at:all", true},
		{"room:*", "room:1", true},
		{"room:*", "room:1:cards", true},
		{"room:*", "room", false},
		{"room:*", "rooms:1", false},
		{"room:1:*", "room:1:cards", true},
		{"room:1:*", "room:10:cards", false},
		{"inbox:7429", "inbox:7429", true},
		{"inbox:7429", "inbox:74290", false},
		{"orders", "orders", true},
		{"orders", "orders:1", false},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatalf("%s: %v", c.pattern, err)
		}
		if got := p.Match(c.name); got != c.want {
			t.Errorf("%s matches %s: %v; want %v", c.pattern, c.name, got, c.want)
		}
	}
	for _, bad := range []string{"", ":*", "room*", "**", "*:a", "Room:*", "a:*:b"} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("the pattern %q was taken", bad)
		}
	}
}

func TestKeys(t *testing.T) {
	const secret = "a-secret-of-some-length"
	hash := sha256.Sum256([]byte("another-secret-of-some-length"))
	keys, err := NewKeys([]Key{
		{Name: "shop", Secret: secret, Read: []string{"*"}, Write: []string{"orders:*"}},
		{Name: "admin", SHA256: hex.EncodeToString(hash[:]), Drop: []string{"*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	shop, err := keys.Authenticate(t.Context(), secret)
	if err != nil || shop.Subject != "shop" {
		t.Fatalf("the key's principal is %+v, %v", shop, err)
	}
	if !shop.May(Write, "orders:1") || shop.May(Write, "prices:1") || shop.May(Drop, "orders:1") || !shop.May(Read, "x") {
		t.Error("the shop's scopes are not those it was given")
	}
	admin, err := keys.Authenticate(t.Context(), "another-secret-of-some-length")
	if err != nil || !admin.May(Drop, "x") || admin.May(Write, "x") || admin.May(Read, "x") {
		t.Errorf("to drop is not to read or write: %+v, %v", admin, err)
	}
	for _, wrong := range []string{"", "x", secret + " ", strings.ToUpper(secret), hex.EncodeToString(hash[:])} {
		if p, err := keys.Authenticate(t.Context(), wrong); !errors.Is(err, ErrInvalid) || p != nil {
			t.Errorf("the token %q gave %v, %v; want ErrInvalid", wrong, p, err)
		}
	}
	var nobody *Principal
	if nobody.May(Read, "x") {
		t.Error("nobody may read")
	}
}

func TestBadKeysAreAllReportedWithoutTheirSecrets(t *testing.T) {
	_, err := NewKeys([]Key{
		{Name: "", Secret: "long-enough-to-be-taken", Read: []string{"Bad"}},
		{Name: "short", Secret: "tiny-secret"},
		{Name: "both", Secret: "long-enough-to-be-taken2", SHA256: "00"},
		{Name: "none"},
		{Name: "hex", SHA256: "zz"},
		{Name: "one", Secret: "the-same-secret-twice"},
		{Name: "two", Secret: "the-same-secret-twice"},
	})
	if err == nil {
		t.Fatal("bad keys were taken")
	}
	for _, want := range []string{"keys[0]", "no name", `"Bad"`, "keys[1] (short)", "keys[2] (both)", "keys[3] (none)", "keys[4] (hex)", "keys[6] (two)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	for _, secret := range []string{"tiny-secret", "the-same-secret", "long-enough"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a secret:\n%v", err)
		}
	}
}
