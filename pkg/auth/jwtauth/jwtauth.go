// Package jwtauth tells whose a signed token (JWT, RFC 7519) is.
//
//	token ─▶ size ─▶ cache of verified ones ─▶ header: algorithm, key ─▶ signature ─▶ claims ─▶ Principal
//	                                                   └▶ configured keys, then those of the JWKS URL
//
// Each key verifies one algorithm, so a token can't choose how it is looked at: `alg: none` is no algorithm, and a public RSA key
// verifies no HMAC. Nothing is read from a token before its signature holds but the names of algorithm and key.
package jwtauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// Defaults of Options.
const (
	DefaultMaxBytes   = 8 << 10
	DefaultCacheBytes = 16 << 20
	DefaultLeeway     = 10 * time.Second
)

// Options says which tokens are good.
type Options struct {
	// Keys are the keys that are configured. There may be none, when there is a JWKS.
	Keys []Key
	// JWKS is where further keys are. The zero JWKS: nowhere.
	JWKS JWKS
	// Issuer is what iss has to be. "": anything.
	Issuer string
	// Audience is what aud has to hold one of. None: anything.
	Audience []string
	// Leeway is how far the clock of whoever makes tokens may be off.
	Leeway time.Duration
	// MaxBytes is the largest token that is looked at. 0: 8 KiB.
	MaxBytes int
	// CacheBytes bounds the memory of tokens that have been verified. 0: 16 MiB.
	CacheBytes int
	// Logger is told when the JWKS can't be had. nil: slog.Default().
	Logger *slog.Logger
	// Metrics is where metrics are registered. nil: nowhere.
	Metrics prometheus.Registerer
}

// Tokens authenticates signed tokens. It is safe for concurrent use.
type Tokens struct {
	// static
	opt     Options
	keys    keySet
	remote  *remote // nil: there is none
	cache   *otter.Cache[[sha256.Size]byte, verified]
	metrics *metrics
}

var _ auth.Authenticator = (*Tokens)(nil)

// verified is a token that was good with the keys of that generation.
type verified struct {
	principal  *auth.Principal
	notBefore  time.Time
	generation uint64
}

// New makes Tokens. It does not wait for the JWKS. The error joins all that is wrong with the keys.
func New(opt Options) (*Tokens, error) {
	opt.MaxBytes = cmp.Or(opt.MaxBytes, DefaultMaxBytes)
	opt.CacheBytes = cmp.Or(opt.CacheBytes, DefaultCacheBytes)
	opt.Logger = cmp.Or(opt.Logger, slog.Default())
	t := &Tokens{opt: opt, metrics: newMetrics(opt.Metrics)}
	var err error
	if t.keys, err = parseKeys(opt.Keys); err != nil {
		return nil, err
	}
	t.cache, err = otter.New(&otter.Options[[sha256.Size]byte, verified]{
		MaximumWeight: uint64(opt.CacheBytes),
		Weigher: func(_ [sha256.Size]byte, v verified) uint32 {
			const entry = 200 // of the cache's own
			return uint32(entry + v.principal.Size())
		},
		Executor: func(f func()) { f() }, // nothing runs behind the scenes
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of tokens: %w", err)
	}
	if opt.JWKS.URL != "" {
		if t.remote, err = newRemote(opt.JWKS, opt.Logger, t.metrics); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Close ends what fetches keys. Closing twice is fine.
func (t *Tokens) Close() {
	if t.remote != nil {
		t.remote.close()
	}
}

// Authenticate verifies a token once; after that, for as long as the keys stay the same, it costs a look-up. It waits for the JWKS
// only where a key that it hasn't heard of is named.
func (t *Tokens) Authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	if len(token) > t.opt.MaxBytes {
		return nil, auth.Refuse(auth.Oversized)
	}
	if strings.Count(token, ".") != 2 {
		return nil, auth.Refuse(auth.UnknownToken)
	}
	id := sha256.Sum256([]byte(token))
	generation := t.generation()
	if v, ok := t.cache.GetIfPresent(id); ok && v.generation == generation {
		t.metrics.cached.Inc()
		return v.check()
	}
	t.metrics.verified.Inc()
	v, err := t.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	t.cache.Set(id, v)
	return v.check()
}

// generation tells key sets apart.
func (t *Tokens) generation() uint64 {
	if t.remote == nil {
		return 0
	}
	return t.remote.generation.Load()
}

func (t *Tokens) verify(ctx context.Context, token string) (verified, error) {
	none := verified{generation: t.generation()} // before the keys are looked at
	parsed, err := jwt.ParseSigned(token, algorithms)
	switch {
	case mindsAlgorithm(err):
		return none, auth.Refuse(auth.BadAlgorithm)
	case err != nil || len(parsed.Headers) != 1:
		return none, auth.Refuse(auth.Malformed)
	}
	keys, err := t.find(ctx, parsed.Headers[0].KeyID, jose.SignatureAlgorithm(parsed.Headers[0].Algorithm))
	if err != nil {
		return none, err
	}
	var c claims
	for _, key := range keys {
		c = claims{}
		if err = parsed.Claims(key.verifies, &c.Claims, &c.scopes); !errors.Is(err, jose.ErrCryptoFailure) {
			break
		}
	}
	switch {
	case errors.Is(err, jose.ErrCryptoFailure):
		return none, auth.Refuse(auth.BadSignature)
	case err != nil:
		return none, auth.Refuse(auth.BadClaims)
	}
	principal, notBefore, err := c.principal(&t.opt)
	if err != nil {
		return none, err
	}
	return verified{principal: principal, notBefore: notBefore, generation: none.generation}, nil
}

// mindsAlgorithm tells whether the algorithm is one that no key here has.
func mindsAlgorithm(err error) bool {
	_, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err)
	return ok
}

// find gives the keys that a token may have been signed with; at least one.
func (t *Tokens) find(ctx context.Context, id string, algorithm jose.SignatureAlgorithm) ([]key, error) {
	keys, known := t.keys.find(id, algorithm)
	if len(keys) > 0 {
		return keys, nil
	}
	if t.remote != nil && !known {
		var err error
		if keys, known, err = t.remote.find(ctx, id, algorithm); err != nil {
			return nil, err
		}
	}
	switch {
	case len(keys) > 0:
		return keys, nil
	case known:
		return nil, auth.Refuse(auth.BadAlgorithm)
	}
	return nil, auth.Refuse(auth.UnknownKey)
}

// check looks at the clock.
func (v verified) check() (*auth.Principal, error) {
	switch now := time.Now(); {
	case !now.Before(v.principal.Expires):
		return nil, auth.Refuse(auth.Expired)
	case now.Before(v.notBefore):
		return nil, auth.Refuse(auth.NotYetValid)
	}
	return v.principal, nil
}

// claims are what a token says.
type claims struct {
	jwt.Claims
	scopes struct {
		Read  []string `json:"read"`
		Write []string `json:"write"`
		Drop  []string `json:"drop"`
	}
}

// Bounds of claims, in bytes.
const (
	MaxSubject = auth.MaxSubject
	MaxID      = auth.MaxTokenID
)

// latest is the end of the year 9999, in Unix seconds: beyond it, arithmetic with times isn't safe.
const latest = 253402300799

// principal weighs the claims, but for the clock.
func (c *claims) principal(opt *Options) (p *auth.Principal, notBefore time.Time, err error) {
	refuse := func(r auth.Reason) (*auth.Principal, time.Time, error) { return nil, time.Time{}, auth.Refuse(r) }
	for _, at := range []*jwt.NumericDate{c.Expiry, c.NotBefore, c.IssuedAt} {
		if at != nil && (int64(*at) < 0 || int64(*at) > latest) {
			return refuse(auth.BadClaims)
		}
	}
	switch {
	case c.Expiry == nil || !auth.Plain(c.Subject, MaxSubject) || c.Subject == "" || !auth.Plain(c.ID, MaxID):
		return refuse(auth.BadClaims)
	case opt.Issuer != "" && c.Issuer != opt.Issuer:
		return refuse(auth.BadIssuer)
	case len(opt.Audience) > 0 && !c.isFor(opt.Audience):
		return refuse(auth.BadAudience)
	}
	p, err = auth.NewPrincipal(c.Subject, auth.Scopes(c.scopes))
	if err != nil {
		return refuse(auth.BadClaims)
	}
	p.ID = c.ID
	p.Expires = c.Expiry.Time().Add(opt.Leeway)
	if c.IssuedAt != nil {
		p.Issued = c.IssuedAt.Time()
		notBefore = p.Issued.Add(-opt.Leeway) // a token from the future is a mistake, or worse
	}
	if c.NotBefore != nil {
		if at := c.NotBefore.Time().Add(-opt.Leeway); at.After(notBefore) {
			notBefore = at
		}
	}
	return p, notBefore, nil
}

func (c *claims) isFor(audience []string) bool {
	return slices.ContainsFunc(audience, c.Audience.Contains)
}
