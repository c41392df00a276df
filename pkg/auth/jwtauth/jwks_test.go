package jwtauth

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// issuer serves a JWKS that can be changed.
type issuer struct {
	server *httptest.Server

	mu      sync.Mutex
	answer  http.HandlerFunc
	fetches int
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.fetches++
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) set(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// publish serves these keys.
func (i *issuer) publish(t *testing.T, keys ...any) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": append([]any{}, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	i.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
}

func jwk(t *testing.T, p pair) jose.JSONWebKey {
	t.Helper()
	public, _, err := parsePEM(p.public.PEM)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: public, KeyID: p.public.ID, Use: "sig", Algorithm: p.public.Algorithm}
}

func sign(t *testing.T, p pair) string {
	t.Helper()
	token, err := Sign(p.private, Grant{Subject: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (i *issuer) tokens(t *testing.T, opt JWKS) *Tokens {
	t.Helper()
	opt.URL = i.server.URL
	return newTokens(t, Options{JWKS: opt, Logger: slog.New(slog.DiscardHandler)})
}

const patience = 20 * time.Second

// soon tries until the token is treated as wanted.
func soon(t *testing.T, tokens *Tokens, token string, want func(error) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, err := tokens.Authenticate(t.Context(), token)
		if want(err) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in the end: %v because of %q", err, auth.ReasonOf(err))
		}
	}
}

func taken(err error) bool { return err == nil }

func refusedFor(r auth.Reason) func(error) bool {
	return func(err error) bool { return auth.ReasonOf(err) == r }
}

func TestKeysRotate(t *testing.T) {
	i := newIssuer(t)
	one, two := newPair(t, "one", "ES256"), newPair(t, "two", "RS256")
	i.publish(t, jwk(t, one))
	tokens := i.tokens(t, JWKS{Refresh: time.Hour, Pause: time.Millisecond})
	soon(t, tokens, sign(t, one), taken)

	i.publish(t, jwk(t, one), jwk(t, two)) // a key that nobody has heard of has the set fetched
	soon(t, tokens, sign(t, two), taken)
	old := sign(t, one)
	soon(t, tokens, old, taken)

	i.publish(t, jwk(t, two)) // and what was verified with a key is worth nothing without it
	soon(t, tokens, sign(t, newPair(t, "three", "ES256")), refusedFor(auth.UnknownKey))
	soon(t, tokens, old, refusedFor(auth.UnknownKey))
	soon(t, tokens, sign(t, two), taken)
}

func TestKeysAreRefreshedAndHoldWhileNobodyAnswers(t *testing.T) {
	i := newIssuer(t)
	one, two := newPair(t, "one", "EdDSA"), newPair(t, "one", "EdDSA") // the same name: nobody asks for it
	i.publish(t, jwk(t, one))
	tokens := i.tokens(t, JWKS{Refresh: 20 * time.Millisecond, Pause: time.Millisecond})
	old := sign(t, one)
	soon(t, tokens, old, taken)
	fails := i.count()
	i.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	for i.count() < fails+5 {
		time.Sleep(time.Millisecond)
	}
	if _, err := tokens.Authenticate(t.Context(), old); err != nil {
		t.Errorf("while nobody answers: %v", err)
	}
	i.publish(t, jwk(t, two))
	soon(t, tokens, old, refusedFor(auth.BadSignature))
	soon(t, tokens, sign(t, two), taken)
}

func TestKeysDoNotHoldForEver(t *testing.T) {
	i := newIssuer(t)
	one := newPair(t, "one", "EdDSA")
	i.publish(t, jwk(t, one))
	tokens := i.tokens(t, JWKS{Refresh: 10 * time.Millisecond, Pause: time.Millisecond, MaxAge: 200 * time.Millisecond})
	token := sign(t, one)
	soon(t, tokens, token, taken)
	i.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	soon(t, tokens, token, func(err error) bool { return errors.Is(err, auth.ErrUnavailable) })
	i.publish(t, jwk(t, one))
	soon(t, tokens, token, taken)
}

// TestUnknownKeysFetchOnce: however many ask for what there is not.
func TestUnknownKeysFetchOnce(t *testing.T) {
	i := newIssuer(t)
	one := newPair(t, "one", "EdDSA")
	i.publish(t, jwk(t, one))
	tokens := i.tokens(t, JWKS{Refresh: time.Hour, Pause: time.Hour})
	soon(t, tokens, sign(t, one), taken)
	before := i.count()
	var all sync.WaitGroup
	for range 50 {
		token := sign(t, newPair(t, "other", "EdDSA"))
		all.Go(func() {
			if _, err := tokens.Authenticate(t.Context(), token); auth.ReasonOf(err) != auth.UnknownKey {
				t.Errorf("%v because of %q", err, auth.ReasonOf(err))
			}
		})
	}
	all.Wait()
	if n := i.count(); n != before {
		t.Errorf("fetched %d times within the pause", n-before)
	}
	tokens.remote.mu.Lock()
	tokens.remote.tried = time.Now().Add(-2 * time.Hour)
	tokens.remote.mu.Unlock()
	for range 50 {
		token := sign(t, newPair(t, "other", "EdDSA"))
		all.Go(func() { _, _ = tokens.Authenticate(t.Context(), token) })
	}
	all.Wait()
	if n := i.count(); n != before+1 {
		t.Errorf("fetched %d times after the pause; want once", n-before)
	}
}

func TestSetsThatCantBeUsed(t *testing.T) {
	one := newPair(t, "one", "ES256")
	good := jwk(t, one)
	_, private, _ := parsePEM(one.private.PEM)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{good}})
	}))
	defer elsewhere.Close()
	encryption, other := good, good
	encryption.Use = "enc"
	other.Algorithm = "ES384"
	for name, answer := range map[string]http.HandlerFunc{
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`+strings.Repeat(" ", maxSetBytes)+`]}`)
		},
		"no JSON":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"no keys":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") },
		"redirected":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"a secret":    keysOf(map[string]any{"kty": "oct", "kid": "one", "k": encode(string(secret))}),
		"a private":   keysOf(jose.JSONWebKey{Key: private, KeyID: "one"}),
		"another use": keysOf(encryption),
		"another alg": keysOf(other),
		"too many":    keysOf(make([]any, maxSetKeys+1)...),
		"never ends": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.set(answer)
			tokens := i.tokens(t, JWKS{Refresh: time.Hour, Pause: time.Millisecond, Timeout: 300 * time.Millisecond})
			if _, err := tokens.Authenticate(t.Context(), sign(t, one)); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%v because of %q; want ErrUnavailable", err, auth.ReasonOf(err))
			}
			i.publish(t, map[string]any{"kty": "OKP", "crv": "X448", "x": "AA"}, good) // one of another kind is passed over
			soon(t, tokens, sign(t, one), taken)
			i.publish(t) // none at all is what the issuer says
			soon(t, tokens, sign(t, newPair(t, "two", "EdDSA")), refusedFor(auth.UnknownKey))
			soon(t, tokens, sign(t, one), refusedFor(auth.UnknownKey))
		})
	}
	for _, bad := range []string{"http://example.com/jwks", "ftp://127.0.0.1/", "/jwks", "https://", "http://localhost.example.com/"} {
		if _, err := New(Options{JWKS: JWKS{URL: bad}}); err == nil {
			t.Errorf("the URL %q was taken", bad)
		}
	}
}

func keysOf(keys ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	}
}
