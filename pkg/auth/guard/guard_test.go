package guard

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/auth/jwtauth"
	"github.com/doorbell-sync/doorbell/pkg/auth/revoked"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = jwtauth.Key{ID: "k", Algorithm: "HS256", Secret: []byte(strings.Repeat("k", 32))}

func token(t *testing.T, ttl time.Duration) string {
	t.Helper()
	token, err := jwtauth.Sign(key, jwtauth.Grant{Subject: "ann", TTL: ttl, Scopes: auth.Scopes{Read: []string{"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func newGuard(t *testing.T, opt Options) *Guard {
	t.Helper()
	g, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func TestKeysAndTokens(t *testing.T) {
	var log bytes.Buffer
	g := newGuard(t, Options{
		Keys:   []auth.Key{{Name: "shop", Secret: "a-secret-of-some-length", Admin: true}, {Name: "dots", Secret: "a-secret.with.dots"}},
		Tokens: jwtauth.Options{Keys: []jwtauth.Key{key}},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for text, want := range map[string]string{"a-secret-of-some-length": "shop", "a-secret.with.dots": "dots", token(t, time.Hour): "ann"} {
		p, err := g.Authenticate(t.Context(), text)
		if err != nil || p.Subject != want || p.Admin != (want == "shop") {
			t.Errorf("%s: %+v, %v", want, p, err)
		}
	}
	forged := token(t, time.Hour) + "x"
	for range 3 {
		for text, want := range map[string]auth.Reason{
			"no-such-secret": auth.UnknownToken, forged: auth.BadSignature, strings.Repeat("x", 10_000): auth.Oversized,
		} {
			if _, err := g.Authenticate(t.Context(), text); auth.ReasonOf(err) != want || err.Error() != auth.ErrInvalid.Error() {
				t.Errorf("%v because of %q; want %q", err, auth.ReasonOf(err), want)
			}
		}
	}
	for _, reason := range []auth.Reason{auth.UnknownToken, auth.BadSignature, auth.Oversized} {
		if n := testutil.ToFloat64(g.refused[reason].total); n != 3 {
			t.Errorf("%s was counted %g times; want 3", reason, n)
		}
		if n := strings.Count(log.String(), "reason="+string(reason)); n != 1 {
			t.Errorf("%s was logged %d times; want once", reason, n)
		}
	}
	if strings.Contains(log.String(), forged[10:30]) || strings.Contains(log.String(), "no-such-secret") {
		t.Errorf("the log holds a token:\n%s", log.String())
	}
}

func TestARevokedTokenIsRefusedAndWaitingEnds(t *testing.T) {
	g := newGuard(t, Options{Tokens: jwtauth.Options{Keys: []jwtauth.Key{key}}, Logger: slog.New(slog.DiscardHandler)})
	text := token(t, time.Hour)
	p, err := g.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := auth.While(t.Context(), g, p)
	defer cancel()
	for _, e := range []revoked.Entry{revoked.ByID("another", p.Expires), revoked.ByID(p.ID, p.Expires)} {
		if ctx.Err() != nil {
			t.Fatalf("waiting ended: %v", context.Cause(ctx))
		}
		if err := g.Revocations().Revoke(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	<-ctx.Done()
	if auth.ReasonOf(context.Cause(ctx)) != auth.Revoked {
		t.Errorf("waiting ended with %v", context.Cause(ctx))
	}
	if _, err := g.Authenticate(t.Context(), text); auth.ReasonOf(err) != auth.Revoked {
		t.Errorf("%v because of %q; want revoked", err, auth.ReasonOf(err))
	}
}

func TestWaitingEndsWithTheToken(t *testing.T) {
	g := newGuard(t, Options{Tokens: jwtauth.Options{Keys: []jwtauth.Key{key}}, Logger: slog.New(slog.DiscardHandler)})
	p, err := g.Authenticate(t.Context(), token(t, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []auth.Revoker{g, nil} {
		ctx, cancel := auth.While(t.Context(), r, p)
		<-ctx.Done()
		if auth.ReasonOf(context.Cause(ctx)) != auth.Expired {
			t.Errorf("waiting ended with %v", context.Cause(ctx))
		}
		cancel()
	}
	ctx, cancel := auth.While(t.Context(), g, &auth.Principal{Subject: "key"})
	cancel()
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		t.Errorf("waiting that was given up ended with %v", context.Cause(ctx))
	}
}

func TestBadConfigurationIsAnError(t *testing.T) {
	for _, opt := range []Options{
		{Keys: []auth.Key{{Name: "x"}}},
		{Tokens: jwtauth.Options{Keys: []jwtauth.Key{{Algorithm: "none"}}}},
		{Tokens: jwtauth.Options{JWKS: jwtauth.JWKS{URL: "http://example.com"}}},
	} {
		if _, err := New(opt); err == nil {
			t.Errorf("%+v was taken", opt)
		}
	}
}
