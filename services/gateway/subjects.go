package gateway

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/admin"
	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
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

var _ admin.Gateway = (*Gateway)(nil)

// Sessions lists those of a subject on this node.
func (g *Gateway) Sessions(subject string) []admin.Session {
	var all []admin.Session
	for _, s := range g.sessions.Registry.Of(subject) {
		p := s.Principal()
		info := admin.Session{ID: s.String(), TokenID: p.ID}
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

// rebalanceWithin is how long clients that are asked to go may take.
const rebalanceWithin = 30 * time.Second

// Rebalance asks a part of the connections, 0 to 1, chosen at random, to connect elsewhere, and tells how many. They go at random
// moments of half a minute; what is left of them then is closed with 1012.
func (g *Gateway) Rebalance(fraction float64) int {
	g.mu.Lock()
	all := slices.Clone(g.conns)
	g.mu.Unlock()
	var some []*session.Session
	for _, c := range all {
		if s, ok := c.Dialogue().(*session.Session); ok {
			some = append(some, s)
		}
	}
	rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	some = some[:int(math.Ceil(min(max(fraction, 0), 1)*float64(len(some))))]
	for _, s := range some {
		s.GoAway(session.Rebalance, 0, rebalanceWithin)
	}
	return len(some)
}
