// Package auth tells who a token belongs to and what that subject may do with which feeds.
package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// ErrInvalid says that a token is not one that is accepted here. It says no more, so that nothing is learnt from it; see
// [ReasonOf] for what the operator may know.
var ErrInvalid = errors.New("the token is not valid")

// ErrUnavailable says that nobody can tell right now: whoever knows doesn't answer.
var ErrUnavailable = errors.New("who may do what can't be told right now")

// Action is what a subject wants to do with a feed.
type Action uint8

// The actions, each with its own patterns: to write is not to read.
const (
	Read Action = iota
	Write
	Drop
	actions
)

func (a Action) String() string {
	return [...]string{"read", "write", "drop"}[a]
}

// Authenticator tells who a token belongs to. Implementations are safe for concurrent use and touch no database.
type Authenticator interface {
	// Authenticate gives the token's principal, ErrInvalid, or ErrUnavailable.
	Authenticate(ctx context.Context, token string) (*Principal, error)
}

// Principal is an authenticated subject. It is immutable once it has been handed on. A nil Principal is nobody, who may do
// nothing.
type Principal struct {
	Subject string
	// ID is its token's own (jti); "" for one that has none.
	ID string
	// Issued is when its token was made; zero: it doesn't say.
	Issued time.Time
	// Expires is when its token ends; zero: never, as static keys do.
	Expires time.Time
	// Admin lets it do what isn't about feeds: end sessions, revoke tokens.
	Admin  bool
	grants [actions][]Pattern
}

// Scopes are patterns of feeds, as text, that a subject may read, write and drop.
type Scopes struct {
	Read, Write, Drop []string
}

// NewPrincipal makes a principal that never expires. The error joins what is wrong with all of the patterns.
func NewPrincipal(subject string, scopes Scopes) (*Principal, error) {
	p := &Principal{Subject: subject}
	var errs []error
	for action, patterns := range [actions][]string{Read: scopes.Read, Write: scopes.Write, Drop: scopes.Drop} {
		for _, text := range patterns {
			pattern, err := ParsePattern(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", Action(action), err))
			}
			p.grants[action] = append(p.grants[action], pattern)
		}
	}
	return p, errors.Join(errs...)
}

// Size is about how much memory it takes, in bytes.
func (p *Principal) Size() int {
	const itself, pattern = 160, 32
	size := itself + len(p.Subject) + len(p.ID)
	for _, patterns := range p.grants {
		for _, g := range patterns {
			size += pattern + len(g.prefix) + len(g.exact)
		}
	}
	return size
}

// May tells whether p may do a with the feed. Public feeds are the caller's business.
func (p *Principal) May(a Action, name feed.Name) bool {
	if p == nil {
		return false
	}
	for _, pattern := range p.grants[a] {
		if pattern.Match(name) {
			return true
		}
	}
	return false
}

// Pattern names feeds: one ("inbox:7429"), all below a prefix of parts ("room:*"), or all ("*").
type Pattern struct {
	prefix string // up to and with the last ':' before '*'; all feeds: ""
	exact  feed.Name
}

// ParsePattern reads a pattern's text.
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern{}, nil
	}
	if prefix, ok := strings.CutSuffix(s, ":*"); ok {
		name, err := feed.ParseName(prefix)
		if err != nil {
			return Pattern{}, fmt.Errorf("pattern %q: %w", s, err)
		}
		return Pattern{prefix: string(name) + ":"}, nil
	}
	name, err := feed.ParseName(s)
	if err != nil {
		return Pattern{}, fmt.Errorf(`pattern %q: %w; or "<prefix>:*", or "*"`, s, err)
	}
	return Pattern{exact: name}, nil
}

// Match tells whether the pattern names the feed.
func (p Pattern) Match(name feed.Name) bool {
	if p.exact != "" {
		return p.exact == name
	}
	return strings.HasPrefix(string(name), p.prefix)
}
