// Package auth tells who a token belongs to and what that subject may do with which feeds.
package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// ErrInvalid says that a token is not one that is accepted here. It says no more, so that nothing is learnt from it.
var ErrInvalid = errors.New("the token is not valid")

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
	// Authenticate gives the token's principal, or ErrInvalid.
	Authenticate(ctx context.Context, token string) (*Principal, error)
}

// Principal is an authenticated subject. It is immutable. A nil Principal is nobody, who may do nothing.
type Principal struct {
	Subject string
	grants  [actions][]Pattern
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
