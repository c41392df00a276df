package httphost

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writePair makes a certificate of its own for 127.0.0.1, which ends at the given time, and gives its files.
func writePair(t *testing.T, dir, name string, end time.Time) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: end.Add(-48 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	secretDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secretDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Now(), time.Now()); err != nil { // file systems count in milliseconds
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestServesTLS(t *testing.T) {
	cert, key := writePair(t, t.TempDir(), "a", time.Now().Add(time.Hour))
	s := New("127.0.0.1:0", http.HandlerFunc(Alive), slog.New(slog.DiscardHandler))
	s.UseTLS(cert, key)
	part := s.Part(unexpected(t))
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := part.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") {
		t.Errorf("the URL is %s", s.URL())
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(s.URL() + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET over TLS: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestARenewedCertificateIsServed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cert, key := writePair(t, dir, "old", time.Now().Add(time.Hour))
		var logs bytes.Buffer
		c, err := loadCertificate(cert, key, slog.New(slog.NewTextHandler(&logs, nil)))
		if err != nil {
			t.Fatal(err)
		}
		name := func() string {
			pair, err := c.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return pair.Leaf.Subject.CommonName
		}
		time.Sleep(time.Second)
		writePair(t, dir, "new", time.Now().Add(time.Hour))
		if got := name(); got != "old" {
			t.Errorf("the files are read at every handshake: %s", got)
		}
		time.Sleep(certificateChecks)
		if got := name(); got != "new" {
			t.Errorf("the renewed one isn't served: %s", got)
		}
		if err := os.WriteFile(key, []byte("half written"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certificateChecks)
		if got := name(); got != "new" || !strings.Contains(logs.String(), "can't be read again") {
			t.Errorf("with a broken key, %s is served and the log says:\n%s", got, logs.String())
		}
	})
}

func TestBadCertificatesAreRefused(t *testing.T) {
	cert, key := writePair(t, t.TempDir(), "expired", time.Now().Add(-time.Minute))
	if err := CheckCertificate(cert, key); err == nil || !strings.Contains(err.Error(), "expired on") {
		t.Errorf("an expired one: %v", err)
	}
	if err := CheckCertificate(cert, cert); err == nil {
		t.Error("a certificate is taken for a key")
	}
	if err := CheckCertificate("missing", key); err == nil {
		t.Error("a missing file is taken")
	}
}
