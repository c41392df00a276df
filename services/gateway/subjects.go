package gateway

import (
	"context"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// revokeEvery is the least time between two looks at all sessions.
const revokeEvery = 50 * time.Millisecond

// endRevoked ends the sessions whose tokens are taken back, until ctx ends.
func (g *Gateway) endRevoked(ctx context.Context, by auth.Revoker) {
	for {
		changed := by.Changed()
		for _, s := range g.sessions.Registry.Revoked(by) {
			s.Revoke()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		select { // what is revoked together costs one look
		case <-time.After(revokeEvery):
		case <-ctx.Done():
			return
		}
	}
}

// Session is one connection as operators see it.
type Session struct {
	ID string `json:"session"`
	// TokenID is its token's (jti); "" for one that has none.
	TokenID string `json:"jti,omitempty"`
	// Expires is when its token ends; nil: never.
	Expires *time.Time `json:"expires,omitempty"`
}

// Sessions lists those of a subject on this node.
func (g *Gateway) Sessions(subject string) []Session {
	var all []Session
	for _, s := range g.sessions.Registry.Of(subject) {
		p := s.Principal()
		info := Session{ID: s.String(), TokenID: p.ID}
		if !p.Expires.IsZero() {
			info.Expires = &p.Expires
		}
		all = append(all, info)
	}
	return all
}

// Disconnect ends the connections of a subject on this node, and tells how many they were. Whoever may come back is told 1012; with
// forbid they are told not to, with 4003. reason is for the client.
func (g *Gateway) Disconnect(subject string, forbid bool, reason string) int {
	end := wire.Close{Code: wire.CloseRestart, Reason: reason}
	if forbid {
		end.Code = wire.CloseForbidden
	}
	all := g.sessions.Registry.Of(subject)
	for _, s := range all {
		s.End(end)
	}
	return len(all)
}
