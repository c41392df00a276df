package e2e

import (
	"bufio"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

const (
	tokenSecret = "a-secret-of-tokens-that-is-long-enough"
	adminKey    = "the-operators-secret-0123456789"
)

// claims are what a token says; nil leaves one out.
type claims map[string]any

// sign makes a token by hand, so that it can be wrong in every way.
func sign(t *testing.T, header, body claims, by func(signed []byte) []byte) string {
	t.Helper()
	part := func(c claims) string {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(header) + "." + part(body)
	return signed + "." + base64.RawURLEncoding.EncodeToString(by([]byte(signed)))
}

func hs256(secret string) func([]byte) []byte {
	return func(signed []byte) []byte {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(signed)
		return mac.Sum(nil)
	}
}

// body is a good token's claims, with others over them.
func body(with claims) claims {
	now := time.Now().Unix()
	all := claims{
		"sub": "ann", "exp": now + 600, "iat": now, "aud": "doorbell", "iss": "tests", "jti": "id-of-ann",
		"read": []string{"*"}, "write": []string{"mine:*"},
	}
	for name, value := range with {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// tokenServer is a dev that takes tokens: HS256 by tokenSecret ("hs"), and RS256 and EdDSA by keys made here.
func tokenServer(t *testing.T) (server *doorbelltest.Server, public string, rs, ed func([]byte) []byte) {
	t.Helper()
	rsKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	public = text(&rsKey.PublicKey)
	config := doorbelltest.File(t, "doorbell.yaml", `
keys: [{name: operator, secret: `+adminKey+`, admin: true}]
tokens:
  keys:
    - {id: hs, algorithm: HS256, secret: `+tokenSecret+`}
    - {id: rs, algorithm: RS256, pem_file: `+doorbelltest.File(t, "rs.pem", public)+`}
    - {id: ed, algorithm: EdDSA, pem_file: `+doorbelltest.File(t, "ed.pem", text(edPublic))+`}
  issuer: tests
  audience: [doorbell]
  leeway: 1s
`)
	rs = func(signed []byte) []byte {
		digest := sha256.Sum256(signed)
		signature, err := rsKey.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	ed = func(signed []byte) []byte { return ed25519.Sign(edKey, signed) }
	return doorbelltest.Dev(t, "--config", config), public, rs, ed
}

// writeWith tries to write with a token; what comes back is told as one text.
func writeWith(t *testing.T, client *http.Client, url, token string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/v1/feeds/mine:1/items/a", strings.NewReader("1"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("WWW-Authenticate") + " " + string(text)
}

// openWith opens a socket with a token as a browser brings it. The handshake has to succeed: a browser sees nothing else.
func openWith(t *testing.T, addr, token string) *rawSocket {
	t.Helper()
	conn := dialTCP(t, addr)
	s := &rawSocket{t, conn, bufio.NewReader(conn)}
	offered := "\r\nSec-WebSocket-Protocol: doorbell.v1.json, bearer." + token + "\r\n\r\n"
	s.write([]byte(strings.TrimSuffix(handshake, "\r\n\r\n") + offered))
	res, err := http.ReadResponse(s.r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Protocol") != "doorbell.v1.json" {
		t.Fatalf("the handshake: %v, %v", res, err)
	}
	return s
}

// TestBadTokens: each gets the same answer, over HTTP and on sockets; the reason is the operator's to see, the token nobody's.
func TestBadTokens(t *testing.T) {
	server, public, rs, ed := tokenServer(t)
	client := doorbelltest.HTTP(t)
	hs := hs256(tokenSecret)
	now := time.Now().Unix()
	hsHead, rsHead := claims{"alg": "HS256", "kid": "hs"}, claims{"alg": "RS256", "kid": "rs"}
	for name, token := range map[string]string{
		"HS256": sign(t, hsHead, body(nil), hs), "RS256": sign(t, rsHead, body(nil), rs),
		"EdDSA": sign(t, claims{"alg": "EdDSA", "kid": "ed"}, body(nil), ed),
	} {
		if status, answer := writeWith(t, client, server.URL(), token); status != http.StatusOK {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		openWith(t, server.Addr(), token).expect("hello")
	}
	nothing := func([]byte) []byte { return nil }
	answers, closes := make(map[string]string), make(map[string]string)
	bad := map[string]string{
		"expired":        sign(t, hsHead, body(claims{"exp": now - 5}), hs),
		"not yet valid":  sign(t, hsHead, body(claims{"nbf": now + 60}), hs),
		"wrong audience": sign(t, hsHead, body(claims{"aud": "else"}), hs),
		"wrong issuer":   sign(t, hsHead, body(claims{"iss": "else"}), hs),
		"no expiry":      sign(t, hsHead, body(claims{"exp": nil}), hs),
		"no subject":     sign(t, hsHead, body(claims{"sub": nil}), hs),
		"alg none":       sign(t, claims{"alg": "none", "kid": "hs"}, body(nil), nothing),
		"alg confusion":  sign(t, claims{"alg": "HS256", "kid": "rs"}, body(nil), hs256(public)),
		"wrong key":      sign(t, hsHead, body(nil), hs256("another-secret-that-is-long-enough-too")),
		"unknown kid":    sign(t, claims{"alg": "HS256", "kid": "hs2"}, body(nil), hs),
		"bad pattern":    sign(t, hsHead, body(claims{"read": []string{"A*"}}), hs),
		"oversized":      sign(t, hsHead, body(claims{"x": strings.Repeat("x", 9000)}), hs),
		"no token":       "nonsense",
	}
	for name, token := range bad {
		status, answer := writeWith(t, client, server.URL(), token)
		if status != http.StatusUnauthorized || !strings.Contains(answer, `error="invalid_token"`) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		answers[answer] = name
		code, reason := openWith(t, server.Addr(), token).expectClose()
		if code != 4001 {
			t.Errorf("%s: closed with %d %s", name, code, reason)
		}
		closes[reason] = name
	}
	if len(answers) != 1 || len(closes) != 1 {
		t.Errorf("bad tokens can be told apart: %v, %v", answers, closes)
	}
	for _, reason := range []string{"expired", "not_yet_valid", "audience", "issuer", "claims", "algorithm", "signature", "unknown_key", "oversized", "unknown"} {
		if !strings.Contains(server.Log(), "reason="+reason) {
			t.Errorf("the log does not say why: %s", reason)
		}
	}
	for name, token := range bad {
		if name != "no token" && strings.Contains(server.Log(), token[len(token)/2:]) {
			t.Errorf("the log holds the token: %s", name)
		}
	}
}

// TestTokensEndOnOpenSockets: with a warning when they expire, at once when they are revoked, subject and all.
func TestTokensEndOnOpenSockets(t *testing.T) {
	server, _, _, _ := tokenServer(t) //nolint:dogsled // the keys are not used here
	hs, head := hs256(tokenSecret), claims{"alg": "HS256", "kid": "hs"}
	shell := doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + server.URL(), "DOORBELL_KEY=" + adminKey}}

	short := openWith(t, server.Addr(), sign(t, head, body(claims{"exp": time.Now().Unix() + 3}), hs))
	short.expect("hello")
	short.expect("expiring")
	if code, reason := short.expectClose(); code != 4001 {
		t.Errorf("expired: closed with %d %s", code, reason)
	}

	revoked := sign(t, head, body(claims{"jti": "one"}), hs)
	socket, other := openWith(t, server.Addr(), revoked), openWith(t, server.Addr(), sign(t, head, body(claims{"jti": "two"}), hs))
	socket.expect("hello")
	other.expect("hello")
	for want, args := range map[string][]string{
		"both --id and --subject": {"--id", "one", "--subject", "ann"}, "what is to be taken back": nil,
		"goes with --subject": {"--id", "one", "--issued-before", "2026-01-01T00:00:00Z"},
	} {
		if r := shell.Run(t, append([]string{"revoke"}, args...)...); r.Code != 2 || !strings.Contains(r.Err, want) {
			t.Errorf("revoke %q: exit %d, %s; want %q", args, r.Code, r.Err, want)
		}
	}
	if r := shell.Run(t, "revoke", "--id", "one", "--ttl", "1h"); r.Code != 0 || !strings.Contains(r.Out, "until") {
		t.Fatalf("revoke: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	if code, reason := socket.expectClose(); code != 4001 {
		t.Errorf("revoked: closed with %d %s", code, reason)
	}
	if status, answer := writeWith(t, doorbelltest.HTTP(t), server.URL(), revoked); status != http.StatusUnauthorized {
		t.Errorf("a write with the revoked token: %d %s", status, answer)
	}
	other.send(`{"ping":1}`)
	other.expect("pong")

	if r := shell.Run(t, "sessions", "ann"); r.Code != 0 || !strings.Contains(r.Out, `"jti": "two"`) || strings.Contains(r.Out, `"jti": "one"`) {
		t.Errorf("sessions: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	if r := shell.Run(t, "revoke", "--subject", "ann"); r.Code != 0 {
		t.Errorf("revoke the subject: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	if code, reason := other.expectClose(); code != 4001 {
		t.Errorf("the subject revoked: closed with %d %s", code, reason)
	}

	bob := openWith(t, server.Addr(), sign(t, head, body(claims{"sub": "bob/1", "jti": nil}), hs))
	bob.expect("hello")
	if r := shell.Run(t, "disconnect", "bob/1", "--forbid", "--reason", "enough"); r.Code != 0 || !strings.Contains(r.Out, `"connections": 1`) {
		t.Errorf("disconnect: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	if code, reason := bob.expectClose(); code != 4003 || reason != "enough" {
		t.Errorf("disconnected: closed with %d %s", code, reason)
	}
	nobody := dialSocket(t, server.Addr())
	if r := shell.Run(t, "rebalance", "1"); r.Code != 0 || !strings.Contains(r.Out, `"connections": 1`) {
		t.Errorf("rebalance: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	if goaway := string(nobody.expect("goaway")); !strings.Contains(goaway, "rebalance") {
		t.Errorf("rebalanced: %s", goaway)
	}
	if r := (doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + server.URL()}}).Run(t, "sessions", "ann"); r.Code != 1 || !strings.Contains(r.Err, "401") {
		t.Errorf("sessions without a key: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
}

// TestTokenCommand: what it makes is taken by the dev whose folder or configuration it was made with.
func TestTokenCommand(t *testing.T) {
	data := t.TempDir()
	server := doorbelltest.Dev(t, "--data", data)
	var shell doorbelltest.Shell
	r := shell.Run(t, "token", "--data", data, "--sub", "ann", "--read", "a:*", "--write", "mine:*", "--ttl", "10m")
	token := strings.TrimSpace(r.Out)
	if r.Code != 0 || strings.Count(token, ".") != 2 {
		t.Fatalf("token: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	socket := openWith(t, server.Addr(), token)
	socket.expect("hello")
	if status, answer := writeWith(t, doorbelltest.HTTP(t), server.URL(), token); status != http.StatusOK {
		t.Errorf("a write with it: %d %s", status, answer)
	}
	config := doorbelltest.File(t, "c.yaml", fmt.Sprintf("tokens: {keys: [{id: a, algorithm: HS256, secret: %s}], audience: [x]}\n", tokenSecret))
	if r := shell.Run(t, "token", "--config", config, "--sub", "ann"); r.Code != 0 || openWithCode(t, server.Addr(), strings.TrimSpace(r.Out)) != 4001 {
		t.Errorf("another installation's token: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	for _, args := range [][]string{
		{"--data", t.TempDir(), "--sub", "ann"},
		{"--data", data},
		{"--data", data, "--sub", "ann", "--read", "A*"},
		{"--data", data, "--sub", "ann", "--ttl", "0s"},
		{"--data", data, "--sub", "ann", "--key-id", "none"},
	} {
		if r := shell.Run(t, append([]string{"token"}, args...)...); r.Code != 2 || r.Out != "" {
			t.Errorf("token %v: exit %d, %s%s", args, r.Code, r.Out, r.Err)
		}
	}
}

func openWithCode(t *testing.T, addr, token string) int {
	t.Helper()
	code, _ := openWith(t, addr, token).expectClose()
	return code
}
