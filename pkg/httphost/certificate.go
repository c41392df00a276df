package httphost

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateChecks is how long a certificate is served before its files are looked at again.
const certificateChecks = 10 * time.Second

// certificate is a pair of PEM files that may be replaced while the process runs, as they are when one is renewed. It is
// safe for concurrent use.
type certificate struct {
	// static
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	written [2]time.Time // of the files that pair was read from
	checked time.Time
}

func loadCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if err := c.reloadLocked(); err != nil {
		return nil, err
	}
	c.checked = time.Now()
	return c, nil
}

// CheckCertificate tells what is wrong with a pair of PEM files.
func CheckCertificate(cert, key string) error {
	_, err := loadCertificate(cert, key, nil)
	return err
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get gives the newest pair. While the files can't be read, or don't belong together (one of them has been replaced so
// far), the one before goes on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateChecks {
		c.checked = now
		if err := c.reloadLocked(); err != nil {
			c.log.Error("the certificate can't be read again; the one before goes on", "error", err)
		}
	}
	return c.pair, nil
}

func (c *certificate) reloadLocked() error {
	var written [2]time.Time
	for i, name := range []string{c.cert, c.key} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("the certificate: %w", err)
		}
		written[i] = info.ModTime()
	}
	if c.pair != nil && written == c.written {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return errors.New("the certificate: it has expired on " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.pair, c.written = &pair, written
	return nil
}
