package session

import (
	"sync"
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

// ends is who the session is, and why it will end. The carrier has one alarm for all of it, set under mu to what comes first.
type ends struct {
	mu sync.Mutex
	// Guarded by mu.
	principal *auth.Principal // nil: nobody
	warn      int64           // when the client is told that the token ends, in Unix ms; 0: it has been, or it never ends
	ask       int64           // when the client is asked to go elsewhere; 0: not at all, or it has been
	away      int64           // when a client that was asked to go is made to; 0: it wasn't asked
	within    int32           // how long it gets, in ms
	why       Away
	verdict   *wire.Close // somebody has ended it
}

// Principal is who the session is; nil: nobody.
func (s *Session) Principal() *auth.Principal {
	s.ends.mu.Lock()
	defer s.ends.mu.Unlock()
	return s.ends.principal
}

// fullDelay is what a client is told to wait at least whose subject has too many sessions.
const fullDelay = 5 * time.Second

// adopt makes p who the session is, until its token ends.
func (s *Session) adopt(p *auth.Principal) error {
	s.ends.mu.Lock()
	s.ends.principal, s.ends.warn = p, 0
	if !p.Expires.IsZero() {
		s.ends.warn = warnAt(p, time.Now()).UnixMilli()
	}
	s.setAlarmLocked()
	s.ends.mu.Unlock()
	if s.opt.Registry != nil {
		if !s.opt.Registry.enter(s, p.Subject, s.opt.PerSubject) {
			return s.tooMany(TooManySessions, fullDelay)
		}
	}
	if s.opt.Revoker != nil && s.opt.Revoker.Revoked(p) { // looked at once it can be found: it was taken back meanwhile
		return invalidToken()
	}
	return nil
}

// End ends the session from outside, soon. The first reason counts.
func (s *Session) End(reason wire.Close) {
	s.ends.mu.Lock()
	defer s.ends.mu.Unlock()
	if s.ends.verdict == nil {
		s.ends.verdict = &reason
	}
	s.setAlarmLocked()
}

// Revoke ends a session whose token has been taken back.
func (s *Session) Revoke() { s.End(*invalidToken()) }

// Away is why a client is asked to go.
type Away uint8

// The reasons.
const (
	Drain     Away = iota // this node stops
	Age                   // the connection is old
	Rebalance             // other nodes have more room
)

func (a Away) String() string { return [...]string{"drain", "age", "rebalance"}[a] }

// GoAway asks the client, after a time, to connect elsewhere within another one, and ends the session after that. The soonest
// counts; a client that has been asked is not asked again.
func (s *Session) GoAway(why Away, after, within time.Duration) {
	now := time.Now()
	s.ends.mu.Lock()
	defer s.ends.mu.Unlock()
	e := &s.ends
	at := now.Add(after).UnixMilli()
	if e.away != 0 || (e.ask != 0 && e.ask <= at) {
		return
	}
	e.ask, e.within, e.why = at, int32(within.Milliseconds()), why
	if after <= 0 {
		s.askLocked(now)
	}
	s.setAlarmLocked()
}

func (s *Session) askLocked(now time.Time) {
	e := &s.ends
	e.ask, e.away = 0, now.UnixMilli()+int64(e.within)
	s.client.Answer(goaway{e.why, int64(e.within)}, 0, true)
}

// setAlarmLocked asks the carrier for the first of what is to come.
func (s *Session) setAlarmLocked() {
	e := &s.ends
	var first int64
	sooner := func(ms int64) {
		if ms != 0 && (first == 0 || ms < first) {
			first = ms
		}
	}
	sooner(e.warn)
	sooner(e.ask)
	sooner(e.away)
	if e.principal != nil && !e.principal.Expires.IsZero() {
		sooner(e.principal.Expires.UnixMilli())
	}
	switch {
	case e.verdict != nil:
		s.carrier.AlarmAt(time.Now())
	case first != 0:
		s.carrier.AlarmAt(time.UnixMilli(first))
	default:
		s.carrier.AlarmAt(time.Time{})
	}
}

// Alarm is called when the time that was asked of the carrier has come: the token ends soon, or has ended, or somebody has ended
// the session. A [*wire.Close] says that it ends here.
func (s *Session) Alarm() error {
	now := time.Now()
	s.ends.mu.Lock()
	defer s.ends.mu.Unlock()
	e := &s.ends
	switch p := e.principal; {
	case e.verdict != nil:
		return e.verdict
	case p != nil && !p.Expires.IsZero() && now.UnixMilli() >= p.Expires.UnixMilli():
		return &wire.Close{Code: wire.CloseToken, Reason: "the token has expired"}
	case e.away != 0 && now.UnixMilli() >= e.away:
		return &wire.Close{Code: wire.CloseRestart, Reason: "asked to go away"}
	case e.ask != 0 && now.UnixMilli() >= e.ask:
		s.askLocked(now)
	case e.warn != 0 && now.UnixMilli() >= e.warn:
		e.warn = 0
		s.client.Answer(expiring{p.Expires}, 0, true)
	}
	s.setAlarmLocked()
	return nil
}

func invalidToken() *wire.Close {
	return &wire.Close{Code: wire.CloseToken, Reason: auth.ErrInvalid.Error()}
}
