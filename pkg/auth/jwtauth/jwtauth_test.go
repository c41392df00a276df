package jwtauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("a secret of thirty-two bytes and more")

// pair is a key in both of its forms.
type pair struct{ public, private Key }

func newPair(t testing.TB, id, algorithm string) pair {
	t.Helper()
	if algorithm == "HS256" {
		k := Key{ID: id, Algorithm: algorithm, Secret: secret}
		return pair{k, k}
	}
	var signer crypto.Signer
	var err error
	switch algorithm {
	case "RS256":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pair{pemKey(t, id, algorithm, signer.Public()), pemKey(t, id, algorithm, signer)}
}

func pemKey(t testing.TB, id, algorithm string, k any) Key {
	t.Helper()
	block := pem.Block{Type: "PRIVATE KEY"}
	var err error
	if _, private := k.(crypto.Signer); private {
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(k)
	} else {
		block.Type = "PUBLIC KEY"
		block.Bytes, err = x509.MarshalPKIXPublicKey(k)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: id, Algorithm: algorithm, PEM: pem.EncodeToMemory(&block)}
}

func newTokens(t testing.TB, opt Options) *Tokens {
	t.Helper()
	tokens, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	return tokens
}

// forge signs any header and claims with a key, as the library that is tested would refuse to.
func forge(t testing.TB, algorithm jose.SignatureAlgorithm, signs any, header map[string]any, claims any) string {
	t.Helper()
	opt := (&jose.SignerOptions{}).WithType("JWT")
	for name, value := range header {
		opt = opt.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: signs}, opt)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := claims.(string)
	if !ok {
		b, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	signed, err := signer.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestEachAlgorithm(t *testing.T) {
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		k := newPair(t, "k1", algorithm)
		tokens := newTokens(t, Options{Keys: []Key{k.public}, Issuer: "me", Audience: []string{"bell", "other"}, Leeway: time.Second})
		before := time.Now().Truncate(time.Second)
		token, err := Sign(k.private, Grant{
			Subject: "ann", TTL: time.Hour, Issuer: "me", Audience: []string{"x", "bell"},
			Scopes: auth.Scopes{Read: []string{"inbox:7", "room:*"}, Write: []string{"room:1"}, Drop: []string{"tmp:*"}},
		})
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		p, err := tokens.Authenticate(t.Context(), token)
		if err != nil {
			t.Fatalf("%s: %v, because of %s", algorithm, err, auth.ReasonOf(err))
		}
		if p.Subject != "ann" || p.ID == "" || p.Admin || p.Issued.Before(before) || p.Expires.Sub(p.Issued) != time.Hour+time.Second {
			t.Errorf("%s: the principal is %+v", algorithm, p)
		}
		if !p.May(auth.Read, "inbox:7") || !p.May(auth.Read, "room:2") || !p.May(auth.Write, "room:1") || !p.May(auth.Drop, "tmp:1") ||
			p.May(auth.Write, "inbox:7") || p.May(auth.Read, "inbox:8") || p.May(auth.Drop, "room:1") {
			t.Errorf("%s: the scopes are not the token's", algorithm)
		}
	}
}

func TestRefusals(t *testing.T) {
	now := time.Now().Unix()
	good := func(with map[string]any) map[string]any {
		claims := map[string]any{"sub": "ann", "exp": now + 600, "iat": now, "aud": "bell", "iss": "me", "read": []string{"*"}}
		for name, value := range with {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		return claims
	}
	rs, other, es := newPair(t, "rs", "RS256"), newPair(t, "rs", "RS256"), newPair(t, "es", "ES256")
	_, rsPrivate, _ := parsePEM(rs.private.PEM)
	_, otherPrivate, _ := parsePEM(other.private.PEM)
	tokens := newTokens(t, Options{
		Keys:   []Key{{ID: "hs", Algorithm: "HS256", Secret: secret}, rs.public, es.public},
		Issuer: "me", Audience: []string{"bell"}, Leeway: 5 * time.Second,
	})
	hs := func(claims any) string { return forge(t, jose.HS256, secret, map[string]any{"kid": "hs"}, claims) }
	fine := hs(good(nil))
	head, rest, _ := strings.Cut(fine, ".")
	body, signature, _ := strings.Cut(rest, ".")
	noneHead := encode(`{"alg":"none","typ":"JWT","kid":"hs"}`)

	for name, c := range map[string]struct {
		token string
		want  auth.Reason
	}{
		"good":                          {fine, ""},
		"good, a list of audiences":     {hs(good(map[string]any{"aud": []string{"x", "bell"}})), ""},
		"good, within the leeway":       {hs(good(map[string]any{"exp": now - 1, "nbf": now + 2, "iat": now + 2})), ""},
		"good, without scopes":          {hs(good(map[string]any{"read": nil, "iat": nil})), ""},
		"empty":                         {"", auth.UnknownToken},
		"no token at all":               {"hello", auth.UnknownToken},
		"five parts, as of encryption":  {"a.b.c.d.e", auth.UnknownToken},
		"parts of nothing":              {"..", auth.BadAlgorithm},
		"no base64":                     {"!." + rest, auth.Malformed},
		"header is no object":           {encode(`[]`) + "." + rest, auth.Malformed},
		"oversized":                     {hs(good(map[string]any{"x": strings.Repeat("x", 9000)})), auth.Oversized},
		"alg none, no signature":        {noneHead + "." + body + ".", auth.BadAlgorithm},
		"alg none, with one":            {noneHead + "." + body + "." + signature, auth.BadAlgorithm},
		"alg None":                      {encode(`{"alg":"None","kid":"hs"}`) + "." + body + ".", auth.BadAlgorithm},
		"no alg":                        {encode(`{"kid":"hs"}`) + "." + body + "." + signature, auth.BadAlgorithm},
		"alg that nobody has":           {forge(t, jose.HS512, []byte(strings.Repeat("x", 64)), map[string]any{"kid": "hs"}, good(nil)), auth.BadAlgorithm},
		"PS256 with the RSA key":        {forge(t, jose.PS256, rsPrivate, map[string]any{"kid": "rs"}, good(nil)), auth.BadAlgorithm},
		"HMAC with the public RSA key":  {forge(t, jose.HS256, rs.public.PEM, map[string]any{"kid": "rs"}, good(nil)), auth.BadAlgorithm},
		"HMAC key, named as the RSA's":  {forge(t, jose.HS256, secret, map[string]any{"kid": "rs"}, good(nil)), auth.BadAlgorithm},
		"RSA, named as the HMAC's":      {forge(t, jose.RS256, rsPrivate, map[string]any{"kid": "hs"}, good(nil)), auth.BadAlgorithm},
		"another key of that name":      {forge(t, jose.RS256, otherPrivate, map[string]any{"kid": "rs"}, good(nil)), auth.BadSignature},
		"a key that it brings along":    {forge(t, jose.RS256, otherPrivate, map[string]any{"kid": "rs", "jwk": jose.JSONWebKey{Key: &otherPrivate.(*rsa.PrivateKey).PublicKey}}, good(nil)), auth.BadSignature},
		"another secret":                {forge(t, jose.HS256, []byte(strings.Repeat("s", 32)), map[string]any{"kid": "hs"}, good(nil)), auth.BadSignature},
		"no signature":                  {head + "." + body + ".", auth.BadSignature},
		"another body":                  {head + "." + encode(`{"sub":"eve","exp":99999999999}`) + "." + signature, auth.BadSignature},
		"unknown kid":                   {forge(t, jose.HS256, secret, map[string]any{"kid": "hs2"}, good(nil)), auth.UnknownKey},
		"critical header":               {forge(t, jose.HS256, secret, map[string]any{"kid": "hs", "crit": []string{"x"}, "x": 1}, good(nil)), auth.BadClaims},
		"expired":                       {hs(good(map[string]any{"exp": now - 6})), auth.Expired},
		"not yet valid":                 {hs(good(map[string]any{"nbf": now + 60})), auth.NotYetValid},
		"issued in the future":          {hs(good(map[string]any{"iat": now + 60})), auth.NotYetValid},
		"wrong audience":                {hs(good(map[string]any{"aud": "else"})), auth.BadAudience},
		"no audience":                   {hs(good(map[string]any{"aud": nil})), auth.BadAudience},
		"wrong issuer":                  {hs(good(map[string]any{"iss": "you"})), auth.BadIssuer},
		"no expiry":                     {hs(good(map[string]any{"exp": nil})), auth.BadClaims},
		"expiry is null":                {hs(`{"sub":"ann","exp":null,"aud":"bell","iss":"me"}`), auth.BadClaims},
		"expiry is text":                {hs(good(map[string]any{"exp": "tomorrow"})), auth.BadClaims},
		"expiry beyond all times":       {hs(good(map[string]any{"exp": 1e18})), auth.BadClaims},
		"negative nbf":                  {hs(good(map[string]any{"nbf": -1})), auth.BadClaims},
		"no subject":                    {hs(good(map[string]any{"sub": nil})), auth.BadClaims},
		"empty subject":                 {hs(good(map[string]any{"sub": ""})), auth.BadClaims},
		"subject is a number":           {hs(good(map[string]any{"sub": 7})), auth.BadClaims},
		"subject with a line break":     {hs(good(map[string]any{"sub": "a\nb"})), auth.BadClaims},
		"subject with a C1 control":     {hs(good(map[string]any{"sub": "a\u0085b"})), auth.BadClaims},
		"id with a C1 control":          {hs(good(map[string]any{"jti": "a\u009fb"})), auth.BadClaims},
		"subject too long":              {hs(good(map[string]any{"sub": strings.Repeat("s", MaxSubject+1)})), auth.BadClaims},
		"id too long":                   {hs(good(map[string]any{"jti": strings.Repeat("s", MaxID+1)})), auth.BadClaims},
		"pattern that is none":          {hs(good(map[string]any{"read": []string{"room*"}})), auth.BadClaims},
		"patterns are one text":         {hs(good(map[string]any{"read": "room:*"})), auth.BadClaims},
		"claims are no object":          {hs(`["sub"]`), auth.BadClaims},
		"claims twice":                  {hs(`{"sub":"ann","sub":"eve","exp":99999999999,"aud":"bell","iss":"me"}`), auth.BadClaims},
		"claims are no JSON":            {hs(`hello`), auth.BadClaims},
		"something behind the claims":   {hs(`{"sub":"ann","exp":99999999999,"aud":"bell","iss":"me"} {}`), auth.BadClaims},
		"no kid, and one key that fits": {forge(t, jose.HS256, secret, nil, good(nil)), ""},
	} {
		p, err := tokens.Authenticate(t.Context(), c.token)
		if got := auth.ReasonOf(err); got != c.want || (err == nil) != (c.want == "") || (p == nil) != (c.want != "") {
			t.Errorf("%s: %v because of %q (%+v); want %q", name, err, got, p, c.want)
			continue
		}
		if err != nil && (!errors.Is(err, auth.ErrInvalid) || err.Error() != auth.ErrInvalid.Error()) {
			t.Errorf("%s: the error says more than that: %v", name, err)
		}
	}
}

func TestTokenThatNamesNoKeyAmongSeveral(t *testing.T) {
	tokens := newTokens(t, Options{Keys: []Key{
		{ID: "a", Algorithm: "HS256", Secret: secret}, {ID: "b", Algorithm: "HS256", Secret: []byte(strings.Repeat("b", 32))},
	}})
	claims := map[string]any{"sub": "ann", "exp": time.Now().Unix() + 60}
	if _, err := tokens.Authenticate(t.Context(), forge(t, jose.HS256, secret, nil, claims)); auth.ReasonOf(err) != auth.UnknownKey {
		t.Errorf("%v because of %q; want unknown_key", err, auth.ReasonOf(err))
	}
}

func TestAHotTokenIsVerifiedOnceAndStillExpires(t *testing.T) {
	k := newPair(t, "", "ES256")
	tokens := newTokens(t, Options{Keys: []Key{k.public}})
	token, err := Sign(k.private, Grant{Subject: "ann", TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	first, err := tokens.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	const times = 1000
	for range times {
		if p, err := tokens.Authenticate(t.Context(), token); err != nil && time.Now().Before(first.Expires) || err == nil && p != first {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	if n := testutil.ToFloat64(tokens.metrics.verified); n != 1 {
		t.Errorf("verified %g times; want once", n)
	}
	time.Sleep(time.Until(first.Expires))
	if _, err := tokens.Authenticate(t.Context(), token); auth.ReasonOf(err) != auth.Expired {
		t.Errorf("%v because of %q; want expired", err, auth.ReasonOf(err))
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	k := Key{Algorithm: "HS256", Secret: secret}
	const most = 64 << 10
	tokens := newTokens(t, Options{Keys: []Key{k}, CacheBytes: most})
	for i := range 2000 {
		token, err := Sign(k, Grant{Subject: fmt.Sprint("subject", i), TTL: time.Hour, Scopes: auth.Scopes{Read: []string{"a:*", "b:*"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Authenticate(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	tokens.cache.CleanUp()
	if n := tokens.cache.WeightedSize(); n > most || n < most/2 {
		t.Errorf("the cache holds %d bytes; want at most %d, and not much less", n, most)
	}
}

func TestBadKeysAreAllReportedWithoutTheirSecrets(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := newPair(t, "", "EdDSA")
	_, err = New(Options{Keys: []Key{
		{ID: "none", Algorithm: "none"},
		{ID: "short", Algorithm: "HS256", Secret: []byte("a-short-secret")},
		{ID: "hmac-of-pem", Algorithm: "HS256", Secret: secret, PEM: ed.public.PEM},
		{ID: "no-pem", Algorithm: "RS256"},
		{ID: "no-pem-at-all", Algorithm: "RS256", PEM: []byte("a-short-secret")},
		{ID: "cert", Algorithm: "RS256", PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})},
		{ID: "broken", Algorithm: "RS256", PEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})},
		{ID: "wrong-kind", Algorithm: "ES256", PEM: ed.public.PEM},
		pemKey(t, "small", "RS256", &small.PublicKey),
		pemKey(t, "curve", "ES256", &p384.PublicKey),
		{ID: strings.Repeat("x", MaxKeyID+1), Algorithm: "HS256", Secret: secret},
	}})
	if err == nil {
		t.Fatal("bad keys were taken")
	}
	for i := range 11 {
		if want := fmt.Sprintf("tokens.keys[%d]", i); !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "a-short-secret") || strings.Contains(err.Error(), string(secret)) {
		t.Errorf("the error holds a secret:\n%v", err)
	}
	if _, err := Sign(ed.public, Grant{Subject: "ann", TTL: time.Hour}); !errors.Is(err, ErrNoSigner) {
		t.Errorf("signing with a public key: %v", err)
	}
}

// FuzzAuthenticate: whatever comes, it's refused with a reason, or it says what the one token that was made here says.
func FuzzAuthenticate(f *testing.F) {
	k := Key{ID: "k", Algorithm: "HS256", Secret: secret}
	ed := newPair(f, "e", "EdDSA")
	tokens := newTokens(f, Options{Keys: []Key{k, ed.public}})
	for _, k := range []Key{k, ed.private} {
		token, err := Sign(k, Grant{Subject: "ann", TTL: time.Hour, Scopes: auth.Scopes{Read: []string{"a:*"}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add(encode(`{"alg":"none"}`) + "." + encode(`{"sub":"ann","exp":99999999999}`) + ".")
	f.Add(encode(`{"alg":"HS256","kid":"e","crit":["b64"],"b64":false}`) + ".." + encode("x"))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := tokens.Authenticate(t.Context(), token)
		if (p == nil) == (err == nil) || err != nil && auth.ReasonOf(err) == "" {
			t.Fatalf("%+v, %v", p, err)
		}
		if p != nil && (p.Subject != "ann" || p.May(auth.Write, "a:1") || !p.May(auth.Read, "a:1")) {
			t.Fatalf("a forged token was taken: %+v", p)
		}
	})
}
