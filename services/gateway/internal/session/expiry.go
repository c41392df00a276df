package session

import (
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// The warning that a token ends comes so long before: the shorter of the two.
const (
	warnBefore  = 30 * time.Second
	warnPortion = 10 // of the token's lifetime
)

// warnAt is when a client is told that its token ends.
func warnAt(p *auth.Principal, now time.Time) time.Time {
	from := now
	if !p.Issued.IsZero() && p.Issued.Before(now) {
		from = p.Issued
	}
	return p.Expires.Add(-min(warnBefore, p.Expires.Sub(from)/warnPortion))
}

// identity is who the session is by the token that it has now.
type identity struct {
	principal *auth.Principal // static
	warn      time.Time       // static: when the client is told that it ends; zero: never
	warned    atomic.Bool     // it has been
}

// Principal is who the session is; nil: nobody.
func (s *Session) Principal() *auth.Principal {
	if i := s.identity.Load(); i != nil {
		return i.principal
	}
	return nil
}

// fullDelay is what a client is told to wait at least whose subject has too many sessions.
const fullDelay = 5 * time.Second

// adopt makes p who the session is, until its token ends. It is called by whoever receives.
func (s *Session) adopt(p *auth.Principal) error {
	i := &identity{principal: p}
	if !p.Expires.IsZero() {
		i.warn = warnAt(p, time.Now())
	}
	s.identity.Store(i)
	if s.opt.Registry != nil {
		if !s.opt.Registry.enter(s, p.Subject, s.opt.PerSubject) {
			return s.tooMany(TooManySessions, fullDelay)
		}
	}
	if s.opt.Revoker != nil && s.opt.Revoker.Revoked(p) { // after it could be found: it was taken back meanwhile
		return invalidToken()
	}
	s.carrier.AlarmAt(i.warn)
	if s.verdict.Load() != nil { // End came in between; its alarm must not be lost
		s.carrier.AlarmAt(time.Now())
	}
	return nil
}

// End ends the session from outside, soon.
func (s *Session) End(reason wire.Close) {
	s.verdict.CompareAndSwap(nil, &reason)
	s.carrier.AlarmAt(time.Now())
}

// Revoke ends a session whose token has been taken back.
func (s *Session) Revoke() { s.End(*invalidToken()) }

// Alarm is called when the time that was asked of the carrier has come: the token ends soon, or has ended, or somebody has ended
// the session. A [*wire.Close] says that it ends here.
func (s *Session) Alarm() error {
	if reason := s.verdict.Load(); reason != nil {
		return reason
	}
	i := s.identity.Load()
	if i == nil || i.principal.Expires.IsZero() {
		return nil
	}
	now := time.Now()
	switch {
	case !now.Before(i.principal.Expires):
		return &wire.Close{Code: wire.CloseToken, Reason: "the token has expired"}
	case now.Before(i.warn): // the alarm of the token before
		s.carrier.AlarmAt(i.warn)
		return nil
	}
	if i.warned.CompareAndSwap(false, true) {
		s.client.Answer(expiring{i.principal.Expires}, 0, true)
	}
	s.carrier.AlarmAt(i.principal.Expires)
	if s.verdict.Load() != nil || s.identity.Load() != i { // another time was set in between, and is lost
		s.carrier.AlarmAt(time.Now())
	}
	return nil
}

func invalidToken() *wire.Close {
	return &wire.Close{Code: wire.CloseToken, Reason: auth.ErrInvalid.Error()}
}
