// Package policy says what holds for the feeds of each namespace: who may read them, how long deletions are kept,
// how large they may be, how long caches may hold them.
package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Namespace is the policy of one namespace. All of it is static after start-up.
type Namespace struct {
	// Public feeds can be read and followed by anybody, and their answers held by shared caches.
	Public bool `yaml:"public"`
	// Authorize has the authorization callback asked about feeds that a token's patterns don't allow.
	Authorize bool `yaml:"authorize"`
	// Retention is how long tombstones are kept at least. A reader that was away for longer starts over from a
	// snapshot. 0: for ever.
	Retention time.Duration `yaml:"retention"`
	// MaxItems is how many items a feed may hold; the oldest beyond that are dropped. 0: any number.
	MaxItems int `yaml:"max_items"`
	// MaxValueBytes is the largest value, in bytes of JSON.
	MaxValueBytes int `yaml:"max_value_bytes"`
	// MaxBatch is the most changes in one write, 1 to 1,000.
	MaxBatch int `yaml:"max_batch"`
	// MaxBatchBytes is the largest body of a write, in bytes.
	MaxBatchBytes int `yaml:"max_batch_bytes"`
	// SignalInterval is the shortest time between two signals of a feed. 0: every change is signalled at once.
	SignalInterval time.Duration `yaml:"signal_interval"`
	// PullRateTarget is how many pulls a second the followers of one feed may cause when it is signalled: where there are more of
	// them, they are told to spread their pulls. 0: any number.
	PullRateTarget int `yaml:"pull_rate_target"`
	// PollAfter is what polling clients are told to wait.
	PollAfter time.Duration `yaml:"poll_after"`
	Cache     Cache         `yaml:"cache"`
}

// Cache is how long caches may hold answers of public feeds. All are whole seconds.
type Cache struct {
	// Pinned answers never change: any cache may hold them this long.
	Pinned time.Duration `yaml:"pinned"`
	// Shared is how long a CDN may serve an unpinned answer without asking.
	Shared time.Duration `yaml:"shared"`
	// StaleWhileRevalidate is how long a CDN may serve it beyond that, while it asks.
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate"`
	// StaleIfError is how long a CDN may serve it beyond that, while the origin is down.
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// Missing is how long anybody may hold "no such feed".
	Missing time.Duration `yaml:"missing"`
}

// Default is the policy of namespaces that nothing is said about: private, with the protocol's figures.
func Default() Namespace {
	return Namespace{
		Retention:     7 * 24 * time.Hour,
		MaxValueBytes: 256 << 10,
		MaxBatch:      1000,
		MaxBatchBytes: 8 << 20,
		PollAfter:     5 * time.Second,
		Cache: Cache{
			Pinned:               time.Hour,
			Shared:               time.Second,
			StaleWhileRevalidate: 5 * time.Second,
			StaleIfError:         time.Minute,
			Missing:              time.Second,
		},
	}
}

// Validate joins everything that is wrong; where names the place in the configuration.
func (n Namespace) Validate(where string) error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s %s", where, field, fmt.Sprintf(format, args...)))
	}
	for field, d := range map[string]time.Duration{
		"retention": n.Retention, "signal_interval": n.SignalInterval, "poll_after": n.PollAfter,
		"cache.pinned": n.Cache.Pinned, "cache.shared": n.Cache.Shared, "cache.missing": n.Cache.Missing,
		"cache.stale_while_revalidate": n.Cache.StaleWhileRevalidate, "cache.stale_if_error": n.Cache.StaleIfError,
	} {
		if d < 0 {
			bad(field, "is %s; allowed: 0 or more", d)
		}
		if field != "retention" && field != "signal_interval" && d%time.Second != 0 {
			bad(field, "is %s; allowed: whole seconds", d)
		}
	}
	if n.SignalInterval > time.Hour {
		bad("signal_interval", "is %s; allowed: at most 1h", n.SignalInterval)
	}
	if n.PullRateTarget < 0 {
		bad("pull_rate_target", "is %d; allowed: 0 (any number) or more", n.PullRateTarget)
	}
	if n.MaxItems < 0 {
		bad("max_items", "is %d; allowed: 0 (any number) or more", n.MaxItems)
	}
	if n.MaxBatch < 1 || n.MaxBatch > 1000 {
		bad("max_batch", "is %d; allowed: 1 to 1000", n.MaxBatch)
	}
	if n.MaxValueBytes < 1 || n.MaxValueBytes > 64<<20 {
		bad("max_value_bytes", "is %d; allowed: 1 to %d", n.MaxValueBytes, 64<<20)
	}
	if n.MaxBatchBytes < n.MaxValueBytes || n.MaxBatchBytes > 256<<20 {
		bad("max_batch_bytes", "is %d; allowed: max_value_bytes (%d) to %d", n.MaxBatchBytes, n.MaxValueBytes, 256<<20)
	}
	slices.SortFunc(errs, func(a, b error) int { // the map above has no order
		return strings.Compare(a.Error(), b.Error())
	})
	return errors.Join(errs...)
}

// Set is the policies of all namespaces. It is immutable and safe for concurrent use.
type Set struct {
	fallback Namespace
	named    map[string]Namespace
}

// NewSet makes a set of a policy for the namespaces named and one for all others.
func NewSet(fallback Namespace, named map[string]Namespace) *Set {
	return &Set{fallback: fallback, named: maps.Clone(named)}
}

// For is the policy of a feed.
func (s *Set) For(name feed.Name) Namespace {
	if n, ok := s.named[name.Namespace()]; ok {
		return n
	}
	return s.fallback
}

// Authorize tells whether the authorization callback is asked about the feed.
func (s *Set) Authorize(name feed.Name) bool { return s.For(name).Authorize }

// SignalInterval is the feed's, as a [bus.IntervalFunc].
func (s *Set) SignalInterval(name feed.Name) time.Duration { return s.For(name).SignalInterval }

// Scoped is a policy and the namespaces that it holds for.
type Scoped struct {
	Namespace
	Scope feed.Scope
}

// All lists each policy with its scope: every feed is in exactly one.
func (s *Set) All() []Scoped {
	names := slices.Sorted(maps.Keys(s.named))
	all := []Scoped{{Namespace: s.fallback, Scope: feed.Scope{Namespaces: names, Except: true}}}
	for _, name := range names {
		all = append(all, Scoped{Namespace: s.named[name], Scope: feed.Scope{Namespaces: []string{name}}})
	}
	return all
}
