// Package config reads what an operator says: a YAML file, then DOORBELL_… from the environment, then flags, each over the
// one before. Defaults run as they are. Unknown keys are refused, and everything that is wrong is reported at once.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/origin"
	"github.com/doorbell-sync/doorbell/pkg/policy"
)

// EnvPrefix begins the name of every environment variable that counts.
const EnvPrefix = "DOORBELL_"

// Config is all of it. Its fields are static after Load.
//
//nolint:recvcheck // Print has a copy, whose secrets it hides
type Config struct {
	// Listen is the address that is served on, "host:port".
	Listen string `yaml:"listen" env:"LISTEN"`
	// InternalListen is the address, "host:port", of metrics and profiles, which are the operators' alone. "": none.
	InternalListen string `yaml:"internal_listen" env:"INTERNAL_LISTEN"`
	// TLS is what Listen is served with; without it, something in front does TLS.
	TLS TLS `yaml:"tls" envPrefix:"TLS_"`
	// Data is the folder that the embedded mode keeps its database in.
	Data string `yaml:"data" env:"DATA"`
	// DatabaseURL is where Postgres is, "postgres://user:password@host/database".
	DatabaseURL string `yaml:"database_url" env:"DATABASE_URL"`
	// DatabaseReplicaURLs are streaming replicas of it, which may answer the API's reads.
	DatabaseReplicaURLs []string `yaml:"database_replica_urls" env:"DATABASE_REPLICA_URLS"`
	// RedisURL is where Redis is, "redis://host:6379/0".
	RedisURL string `yaml:"redis_url" env:"REDIS_URL"`
	// DrainWait is how long a service that is asked to stop goes on serving while it says that it isn't ready, so that
	// balancers turn away first.
	DrainWait time.Duration `yaml:"drain_wait" env:"DRAIN_WAIT"`
	// Gateway is how the gateway holds connections.
	Gateway Gateway `yaml:"gateway" envPrefix:"GATEWAY_"`
	// Origins are the origins of pages, such as "https://app.example.com", that may open sockets, write, and read private
	// feeds. Pages of the service's own origin may always.
	Origins []string `yaml:"origins" env:"ORIGINS"`
	// TrustedProxies are addresses and CIDRs whose X-Forwarded-* headers count.
	TrustedProxies []string `yaml:"trusted_proxies" env:"TRUSTED_PROXIES"`
	// Keys are the static API keys.
	Keys []auth.Key `yaml:"keys"`
	// API is what the API service may use.
	API API `yaml:"api" envPrefix:"API_"`
	// Tokens says which signed tokens are good.
	Tokens Tokens `yaml:"tokens" envPrefix:"TOKENS_"`
	// Limits are how much one client may ask of the API.
	Limits Limits `yaml:"limits" envPrefix:"LIMITS_"`
	// Traces says what is traced, and where to.
	Traces Traces `yaml:"traces" envPrefix:"TRACES_"`
	// Authorization is the application's own say, beside the tokens'.
	Authorization Authorization `yaml:"authorization" envPrefix:"AUTHORIZATION_"`
	// Default is the policy of namespaces that are not named, and what those that are begin with.
	Default policy.Namespace `yaml:"default"`
	// Namespaces are policies by namespace; what one doesn't say is as in Default.
	Namespaces map[string]policy.Namespace `yaml:"namespaces"`

	// partial: something couldn't be read. Whether what is missing would have been needed, nobody knows.
	partial bool
}

// Defaults is the configuration when nobody says anything.
func Defaults() Config {
	return Config{
		Listen:        "127.0.0.1:8080",
		Data:          "doorbell-data",
		DrainWait:     3 * time.Second,
		Authorization: defaultAuthorization(),
		API:           defaultAPI(),
		Gateway:       defaultGateway(),
		Tokens:        defaultTokens(),
		Limits:        defaultLimits(),
		Traces:        defaultTraces(),
		Default:       policy.Default(),
	}
}

// Load reads the YAML file at path ("" for none) and the environment (as [os.Environ] gives it) over the defaults. It
// doesn't validate, because flags may come on top. The error joins all that can't be read; the configuration that comes with it is
// what could, so that Validate can say what else is wrong.
func Load(path string, environ []string) (Config, error) {
	c := Defaults()
	var errs []error
	if path != "" {
		errs = append(errs, c.readFile(path))
	}
	errs = append(errs, c.readEnvironment(environ))
	err := errors.Join(errs...)
	c.partial = err != nil
	return c, err
}

// Public makes every namespace public, as development does.
func (c *Config) Public() {
	c.Default.Public = true
	for name, n := range c.Namespaces {
		n.Public = true
		c.Namespaces[name] = n
	}
}

// Policies are the policies of all namespaces.
func (c *Config) Policies() *policy.Set { return policy.NewSet(c.Default, c.Namespaces) }

// Loopback tells whether Listen is an address of this machine's own only.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}

// Validate joins everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		bad(`listen is %q; allowed: "host:port", such as "127.0.0.1:8080"`, c.Listen)
	} else if !c.Loopback() && len(c.Keys) == 0 && !c.Tokens.Enabled() && !c.partial {
		bad("listen is %q, which others can reach: that needs keys, or tokens; allowed without: a loopback address, such as "+
			`"127.0.0.1:8080"`, c.Listen)
	}
	if _, port, err := net.SplitHostPort(c.InternalListen); c.InternalListen != "" && (err != nil || port == "") {
		bad(`internal_listen is %q; allowed: "" for none, or "host:port", such as "127.0.0.1:9090"`, c.InternalListen)
	}
	errs = append(errs, c.TLS.validate())
	errs = append(errs, c.Limits.validate(), c.Traces.validate())
	if c.DrainWait < 0 || c.DrainWait > 10*time.Minute {
		bad("drain_wait is %s; allowed: 0 to 10m", c.DrainWait)
	}
	errs = append(errs, c.Gateway.validate())
	errs = append(errs, checkURL("database_url", c.DatabaseURL, "postgres", "postgresql"))
	errs = append(errs, c.checkReplicas())
	errs = append(errs, checkURL("redis_url", c.RedisURL, "redis", "rediss"))
	if _, err := origin.ParseList(c.Origins); err != nil {
		bad("origins: %w", err)
	}
	if _, err := origin.ParseProxies(c.TrustedProxies); err != nil {
		bad("trusted_proxies: %w", err)
	}
	if _, err := auth.NewKeys(c.Keys); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.API.validate(), c.Tokens.validate(), c.Authorization.validate(), c.Default.Validate("default"))
	for _, name := range sortedKeys(c.Namespaces) {
		if _, err := feed.ParseNamespace(name); err != nil {
			bad("namespaces: %w", err)
		}
		errs = append(errs, c.Namespaces[name].Validate("namespaces."+name))
	}
	for _, p := range c.Policies().All() {
		if p.Authorize && c.Authorization.URL == "" && !c.partial {
			bad("a policy has authorize, but authorization.url is empty")
			break
		}
	}
	return errors.Join(errs...)
}

// Need says which of the servers that a service can't do without are not configured; of a configuration that couldn't be read as
// a whole, nothing.
func (c *Config) Need(database, redis bool) error {
	if c.partial {
		return nil
	}
	var errs []error
	if database && c.DatabaseURL == "" {
		errs = append(errs, errors.New("database_url is empty; give it, or DOORBELL_DATABASE_URL, or --database-url"))
	}
	if redis && c.RedisURL == "" {
		errs = append(errs, errors.New("redis_url is empty; give it, or DOORBELL_REDIS_URL, or --redis-url"))
	}
	return errors.Join(errs...)
}

// checkURL never repeats the URL: it may hold a password.
func checkURL(field, text string, schemes ...string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("%s is not a URL that begins with %s://", field, strings.Join(schemes, ":// or "))
	}
	return nil
}
