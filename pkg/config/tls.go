package config

import (
	"errors"
	"fmt"

	"github.com/doorbell-sync/doorbell/pkg/httphost"
)

// TLS names a certificate's PEM files, both or none. They may be replaced while a service runs.
type TLS struct {
	// Cert is the certificate with its chain, Key its private key.
	Cert string `yaml:"cert" env:"CERT"`
	Key  string `yaml:"key" env:"KEY"`
}

func (t TLS) validate() error {
	switch {
	case t == TLS{}:
		return nil
	case t.Cert == "" || t.Key == "":
		return errors.New("tls has one of cert and key; allowed: both, or none")
	}
	if err := httphost.CheckCertificate(t.Cert, t.Key); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return nil
}
