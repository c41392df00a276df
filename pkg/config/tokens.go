package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth/jwtauth"
)

// Tokens says which signed tokens (JWT) are good. Without keys and JWKSURL none is.
type Tokens struct {
	// Keys are the keys that tokens may be signed with.
	Keys []TokenKey `yaml:"keys"`
	// JWKSURL gives further keys, which come and go: https, or http on this machine.
	JWKSURL string `yaml:"jwks_url" env:"JWKS_URL"`
	// JWKSRefresh is how often they are fetched.
	JWKSRefresh time.Duration `yaml:"jwks_refresh" env:"JWKS_REFRESH"`
	// Issuer is what iss has to be; "": anything.
	Issuer string `yaml:"issuer" env:"ISSUER"`
	// Audience is what aud has to hold one of; none: anything.
	Audience []string `yaml:"audience" env:"AUDIENCE"`
	// Leeway is how far the clocks of those who make tokens may be off.
	Leeway time.Duration `yaml:"leeway" env:"LEEWAY"`
	// MaxBytes is the largest token that is looked at.
	MaxBytes int `yaml:"max_bytes" env:"MAX_BYTES"`
	// CacheBytes bounds the memory of tokens that have been verified.
	CacheBytes int `yaml:"cache_bytes" env:"CACHE_BYTES"`
}

// TokenKey is one key.
type TokenKey struct {
	// ID is the kid that tokens name it by.
	ID string `yaml:"id"`
	// Algorithm is HS256, RS256, ES256 or EdDSA.
	Algorithm string `yaml:"algorithm"`
	// Secret or the content of SecretFile, line breaks at its end left out, is that of HS256: 32 bytes or more.
	Secret     string `yaml:"secret"`
	SecretFile string `yaml:"secret_file"`
	// PEM or the content of PEMFile is the public key of the others. A private key can sign as well, for `doorbell token`.
	PEM     string `yaml:"pem"`
	PEMFile string `yaml:"pem_file"`
}

func defaultTokens() Tokens {
	return Tokens{
		JWKSRefresh: 5 * time.Minute, Leeway: jwtauth.DefaultLeeway,
		MaxBytes: jwtauth.DefaultMaxBytes, CacheBytes: jwtauth.DefaultCacheBytes,
	}
}

// Enabled tells whether any token can be good.
func (t Tokens) Enabled() bool { return len(t.Keys) > 0 || t.JWKSURL != "" }

// Options reads the files of keys. The error joins all that is wrong with them.
func (t Tokens) Options() (jwtauth.Options, error) {
	opt := jwtauth.Options{
		JWKS:   jwtauth.JWKS{URL: t.JWKSURL, Refresh: t.JWKSRefresh},
		Issuer: t.Issuer, Audience: t.Audience, Leeway: t.Leeway, MaxBytes: t.MaxBytes, CacheBytes: t.CacheBytes,
	}
	var errs []error
	for i, k := range t.Keys {
		key, err := k.read()
		if err != nil {
			errs = append(errs, fmt.Errorf("tokens.keys[%d] (%s): %w", i, k.ID, err))
		}
		opt.Keys = append(opt.Keys, key)
	}
	return opt, errors.Join(errs...)
}

func (k TokenKey) read() (jwtauth.Key, error) {
	key := jwtauth.Key{ID: k.ID, Algorithm: k.Algorithm, Secret: []byte(k.Secret), PEM: []byte(k.PEM)}
	for _, f := range []struct {
		name, path string
		inline     string
		to         *[]byte
	}{
		{"secret", k.SecretFile, k.Secret, &key.Secret}, {"pem", k.PEMFile, k.PEM, &key.PEM},
	} {
		switch {
		case f.path == "":
			continue
		case f.inline != "":
			return key, fmt.Errorf("has both %s and %s_file; allowed: one of them", f.name, f.name)
		}
		text, err := os.ReadFile(f.path)
		if err != nil {
			return key, fmt.Errorf("read the %s_file: %w", f.name, err)
		}
		if *f.to = text; f.name == "secret" { // an editor's last line break is not meant
			*f.to = bytes.TrimRight(text, "\r\n")
		}
	}
	return key, nil
}

func (t Tokens) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	opt, err := t.Options()
	if err == nil {
		err = jwtauth.CheckKeys(opt.Keys)
	}
	errs = append(errs, err)
	if t.JWKSURL != "" {
		if err := jwtauth.CheckURL(t.JWKSURL); err != nil {
			bad("tokens.jwks_url %w", err)
		}
		if len(t.Audience) == 0 {
			bad("tokens.audience is empty; with jwks_url it is needed: whoever publishes keys signs tokens for others, too")
		}
	}
	if t.JWKSRefresh < 10*time.Second || t.JWKSRefresh > 24*time.Hour {
		bad("tokens.jwks_refresh is %s; allowed: 10s to 24h", t.JWKSRefresh)
	}
	if t.Leeway < 0 || t.Leeway > 10*time.Minute {
		bad("tokens.leeway is %s; allowed: 0s to 10m", t.Leeway)
	}
	if t.MaxBytes < 256 || t.MaxBytes > 32<<10 {
		bad("tokens.max_bytes is %d; allowed: 256 to %d", t.MaxBytes, 32<<10)
	}
	if t.CacheBytes < 64<<10 || t.CacheBytes > 1<<30 {
		bad("tokens.cache_bytes is %d; allowed: %d to %d", t.CacheBytes, 64<<10, 1<<30)
	}
	return errors.Join(errs...)
}

// withoutSecrets is what may be printed.
func (t Tokens) withoutSecrets() Tokens {
	keys := t.Keys
	t.Keys = nil
	for _, k := range keys {
		if k.Secret != "" {
			k.Secret = hidden
		}
		if k.PEM != "" { // it may be a private one
			k.PEM = hidden
		}
		t.Keys = append(t.Keys, k)
	}
	t.JWKSURL = withoutPassword(t.JWKSURL)
	return t
}
