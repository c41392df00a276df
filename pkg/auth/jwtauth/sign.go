package jwtauth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// Grant is what a token is to say.
type Grant struct {
	Subject  string
	Scopes   auth.Scopes
	TTL      time.Duration
	Issuer   string
	Audience []string
}

// ErrNoSigner says that a key can only verify.
var ErrNoSigner = errors.New("the key can't sign: it is a public one")

// CanSign tells whether the key, which must be a good one, can sign.
func (k Key) CanSign() bool {
	key, err := k.parse()
	return err == nil && key.signs != nil
}

// Sign makes a token with the key, for development and tests: in production the application's own server makes them. It refuses
// what Tokens would refuse.
func Sign(k Key, g Grant) (token string, err error) {
	key, err := k.parse()
	if err != nil {
		return "", err
	}
	if key.signs == nil {
		return "", ErrNoSigner
	}
	if g.Subject == "" || !auth.Plain(g.Subject, MaxSubject) {
		return "", fmt.Errorf("the subject is %q; allowed: 1 to %d bytes of text", g.Subject, MaxSubject)
	}
	if g.TTL < time.Second {
		return "", fmt.Errorf("the time to live is %s; allowed: 1s or more", g.TTL)
	}
	if _, err := auth.NewPrincipal(g.Subject, g.Scopes); err != nil {
		return "", err
	}
	opt := (&jose.SignerOptions{}).WithType("JWT")
	if k.ID != "" {
		opt = opt.WithHeader("kid", k.ID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.algorithm, Key: key.signs}, opt)
	if err != nil {
		return "", fmt.Errorf("sign with the key: %w", err)
	}
	now := time.Now()
	return jwt.Signed(signer).
		Claims(jwt.Claims{
			Subject: g.Subject, ID: rand.Text(), Issuer: g.Issuer, Audience: g.Audience,
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(g.TTL)),
		}).
		Claims(struct {
			Read  []string `json:"read,omitempty"`
			Write []string `json:"write,omitempty"`
			Drop  []string `json:"drop,omitempty"`
		}(g.Scopes)).
		Serialize()
}
