package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const ed25519PEM = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

func TestTokens(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("f", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(write(t, `
listen: 0.0.0.0:80
tokens:
  keys:
    - {id: a, algorithm: HS256, secret: "a-secret-that-nobody-is-to-see-0"}
    - {id: b, algorithm: HS256, secret_file: `+secret+`}
    - id: c
      algorithm: EdDSA
      pem: |
        `+strings.ReplaceAll(ed25519PEM, "\n", "\n        ")+`
  jwks_url: https://issuer.example/jwks
  audience: [doorbell]
  leeway: 3s
`), []string{"DOORBELL_TOKENS_ISSUER=https://issuer.example"})
	if err == nil {
		err = c.Validate() // tokens do for keys on an address that others can reach
	}
	if err != nil {
		t.Fatal(err)
	}
	opt, err := c.Tokens.Options()
	if err != nil || len(opt.Keys) != 3 || string(opt.Keys[1].Secret) != strings.Repeat("f", 40) || opt.Leeway != 3*time.Second ||
		opt.Issuer != "https://issuer.example" || opt.MaxBytes != 8192 || opt.JWKS.Refresh != 5*time.Minute {
		t.Errorf("the options are %+v, %v", opt, err)
	}
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(printed.String(), "nobody-is-to-see") || !strings.Contains(printed.String(), "id: a") ||
		!strings.Contains(printed.String(), "jwks_url: https://issuer.example/jwks") {
		t.Errorf("printed:\n%s", printed.String())
	}
}

func TestBadTokensAreAllReported(t *testing.T) {
	c := Defaults()
	c.Tokens = Tokens{
		Keys: []TokenKey{
			{ID: "a", Algorithm: "HS256", Secret: strings.Repeat("s", 32)},
			{ID: "b", Algorithm: "HS256", SecretFile: "/no/such/file"},
			{ID: "c", Algorithm: "HS256", Secret: "x", SecretFile: "y"},
		},
		JWKSURL: "http://issuer.example", JWKSRefresh: time.Second, Leeway: -1, MaxBytes: 1, CacheBytes: 1,
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"keys[1] (b)", "/no/such/file", "keys[2] (c)", "both secret and secret_file", "jwks_url", "audience", "jwks_refresh", "leeway",
		"max_bytes", "cache_bytes",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	c.Tokens = defaultTokens()
	c.Tokens.Keys = []TokenKey{{ID: "none", Algorithm: "none"}, {ID: "short", Algorithm: "HS256", Secret: "short-secret"}}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "(none)") || !strings.Contains(err.Error(), "(short)") ||
		strings.Contains(err.Error(), "short-secret") {
		t.Errorf("the error is %v", err)
	}
}
