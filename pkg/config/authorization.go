package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth/callback"
)

// Authorization is the application's own say about feeds of namespaces whose policy has authorize.
type Authorization struct {
	// URL is asked with POST what a subject may do with feeds that its token doesn't allow. "": nobody is asked.
	URL string `yaml:"url" env:"URL"`
	// Secret goes along as "Authorization: Bearer".
	Secret string `yaml:"secret" env:"SECRET"`
	// Timeout bounds one question.
	Timeout time.Duration `yaml:"timeout" env:"TIMEOUT"`
	// AllowTTL and DenyTTL are how long answers hold.
	AllowTTL time.Duration `yaml:"allow_ttl" env:"ALLOW_TTL"`
	DenyTTL  time.Duration `yaml:"deny_ttl" env:"DENY_TTL"`
	// CacheBytes bounds the memory of answers.
	CacheBytes int `yaml:"cache_bytes" env:"CACHE_BYTES"`
}

func defaultAuthorization() Authorization {
	return Authorization{Timeout: 2 * time.Second, AllowTTL: time.Minute, DenyTTL: 10 * time.Second, CacheBytes: 16 << 20}
}

// Options are those of a callback.
func (a Authorization) Options() callback.Options {
	return callback.Options{
		URL: a.URL, Secret: a.Secret, Timeout: a.Timeout, AllowTTL: a.AllowTTL, DenyTTL: a.DenyTTL, CacheBytes: a.CacheBytes,
	}
}

func (a Authorization) validate() error {
	errs := []error{checkURL("authorization.url", a.URL, "http", "https")}
	for _, d := range []struct {
		name        string
		is          time.Duration
		least, most time.Duration
	}{
		{"timeout", a.Timeout, 10 * time.Millisecond, 8 * time.Second},
		{"allow_ttl", a.AllowTTL, time.Second, time.Hour},
		{"deny_ttl", a.DenyTTL, 100 * time.Millisecond, time.Hour},
	} {
		if d.is < d.least || d.is > d.most {
			errs = append(errs, fmt.Errorf("authorization.%s is %s; allowed: %s to %s", d.name, d.is, d.least, d.most))
		}
	}
	if a.CacheBytes < 64<<10 || a.CacheBytes > 1<<30 {
		errs = append(errs, fmt.Errorf("authorization.cache_bytes is %d; allowed: %d to %d", a.CacheBytes, 64<<10, 1<<30))
	}
	return errors.Join(errs...)
}

// withoutSecrets is what may be printed.
func (a Authorization) withoutSecrets() Authorization {
	if a.Secret != "" {
		a.Secret = hidden
	}
	a.URL = withoutPassword(a.URL)
	return a
}
