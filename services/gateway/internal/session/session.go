// Package session is the dialogue with one client: its commands in their order, who it is, what it may follow, and
// what it is told. It knows neither sockets nor HTTP; whatever carries it calls
//
//	Open, then Receive for each message that comes in and Control for each control frame, Next for what goes out, Alarm when the
//	time has come, Close
package session

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/pace"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// MaxMalformed is how many malformed messages in a row end a session.
const MaxMalformed = 10

// Options is what all sessions share. All of it is static.
type Options struct {
	Hub      *hub.Hub
	Policies *policy.Set
	Auth     auth.Authenticator // nil: no token is valid
	Revoker  auth.Revoker       // nil: no token is taken back
	Registry *Registry          // nil: nobody asks for subjects
	Logger   *slog.Logger
	// Commands is how fast they may come.
	Commands pace.Limit
	// PerSubject is how many sessions one subject may have on this node; 0: any number. It needs a Registry.
	PerSubject int
	// Limited is told of each refusal because of a limit. It must not block.
	Limited func(Limit)
	// PingMillis is how often the transport pings, as it is told to the client.
	PingMillis int64
}

// Limit names a limit that was reached.
type Limit string

// The limits of sessions.
const (
	TooManyFeeds    Limit = "feeds"
	TooManyCommands Limit = "commands"
	TooManySessions Limit = "subject"
)

// Kind is one way to speak; all sessions that speak it share it.
type Kind struct {
	Encoding wire.Encoding
	// Form is Encoding in the frames of the transport.
	Form hub.Form
}

// Carrier is what the session is told by, beside the write side.
type Carrier interface {
	// AlarmAt has [Session.Alarm] called at t or soon after, or earlier if t is far away, in the place of the time that was given
	// before. The zero time: not at all. It does not block.
	AlarmAt(t time.Time)
}

// ID names a session in logs, here and at the client's.
type ID uint64

// NewID makes one.
func NewID() ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return ID(binary.BigEndian.Uint64(b[:]))
}

func (id ID) String() string { return fmt.Sprintf("s-%016x", uint64(id)) }

// Session is one client's. Open, Receive and Control are called one at a time, and so is Next; Alarm and Close at any time.
type Session struct {
	// Static after New.
	opt     *Options
	kind    *Kind
	id      ID
	client  *hub.Client
	carrier Carrier

	// Owned by whoever receives.
	token     *string // that came with the handshake; nil: none, or it has been weighed
	commands  pace.Mark
	malformed uint8 // messages in a row

	// Owned by whoever sends.
	greeted bool

	// opened is set once there is anything to say: nothing comes before hello, and no hello before the token is known to be
	// good.
	opened atomic.Bool

	ends  ends
	place place // guarded by Registry.mu
}

// New makes a session whose messages go to out. token is the one that came with the handshake, "" for none.
func New(opt *Options, kind *Kind, id ID, token string, out hub.Outlet, carrier Carrier) (*Session, error) {
	client, err := opt.Hub.NewClient(out, kind.Form)
	if err != nil {
		return nil, err
	}
	s := &Session{opt: opt, kind: kind, id: id, client: client, carrier: carrier}
	if token != "" {
		s.token = &token
	}
	return s, nil
}

// String is the session's ID.
func (s *Session) String() string { return s.id.String() }

// Open weighs the token. A [*wire.Close] says that the session ends here.
func (s *Session) Open(ctx context.Context) error {
	token := s.token
	s.token = nil
	if token != nil {
		principal, err := s.authenticate(ctx, *token)
		switch {
		case errors.Is(err, auth.ErrUnavailable): // whoever knows may be back soon, or be found by another node
			return &wire.Close{Code: wire.CloseRestart, Reason: "the token can't be weighed right now"}
		case err != nil:
			return err
		}
		if err := s.adopt(principal); err != nil {
			return err
		}
	}
	s.opened.Store(true)
	return nil
}

// Close frees whatever the session holds, and Receive where it waits. Closing twice is fine.
func (s *Session) Close() {
	s.client.Close()
	if s.opt.Registry != nil {
		s.opt.Registry.leave(s)
	}
}

// Receive carries out one message. It waits while the client has not taken in enough of its answers, so that a client
// who never reads is not read from; it does not wait for the bus. A [*wire.Close] says that the session ends here.
func (s *Session) Receive(ctx context.Context, message []byte, binary bool) error {
	if !s.client.WaitRoom() {
		return hub.ErrClosed
	}
	if err := s.Control(); err != nil { // whatever it is: reading and refusing it costs as much
		return err
	}
	cmd, err := s.kind.Encoding.Parse(message, binary)
	if wrong := (*wire.Error)(nil); errors.As(err, &wrong) {
		return s.bad(cmd.ID, wrong)
	}
	s.malformed = 0
	switch cmd.Verb {
	case wire.Subscribe:
		s.subscribe(ctx, cmd)
	case wire.Unsubscribe:
		s.client.Unsubscribe(cmd.Feeds)
		if cmd.ID != nil {
			s.client.Answer(unsubscribed{cmd.ID, cmd.Feeds}, len(cmd.Feeds), false)
		}
	case wire.Auth:
		return s.auth(ctx, cmd)
	case wire.Ping:
		s.client.Answer(pong{cmd.ID, cmd.Ping}, 0, true)
	}
	return nil
}

// Control counts a frame that is no message, as a command: it costs as much. It is called by whoever receives. A [*wire.Close] says
// that the session ends here.
func (s *Session) Control() error {
	if early := s.opt.Commands.Take(&s.commands); early > 0 {
		return s.tooMany(TooManyCommands, early)
	}
	return nil
}

// bad answers what is not a command. Whoever goes on like this is no client of ours.
func (s *Session) bad(id []byte, e *wire.Error) error {
	s.refuse(id, e)
	if e.Code != wire.BadCommand {
		s.malformed = 0
		return nil
	}
	if s.malformed++; s.malformed >= MaxMalformed {
		return &wire.Close{Code: wire.CloseMalformed, Reason: "too many malformed commands in a row"}
	}
	return nil
}

func (s *Session) refuse(id []byte, e *wire.Error) { s.client.Answer(refused{id, e}, 0, false) }

// subscribe waits for the authorization callback where that is needed.
func (s *Session) subscribe(ctx context.Context, cmd wire.Command) {
	verdicts := s.mayRead(ctx, cmd.Feeds)
	allowed, denied, forbidden := cmd.Feeds[:0], []wire.Denial(nil), []feed.Name(nil)
	for i, name := range cmd.Feeds {
		switch verdicts[i] {
		case auth.Allowed:
			allowed = append(allowed, name)
		case auth.Unknown:
			denied = append(denied, wire.Denial{Feed: name, Reason: wire.Unavailable})
		default:
			denied = append(denied, wire.Denial{Feed: name, Reason: wire.Forbidden})
			forbidden = append(forbidden, name)
		}
	}
	lost := s.client.Unsubscribe(forbidden) // before the answer, which says so
	err := s.client.Subscribe(allowed, subscribed{cmd.ID, denied}, len(denied))
	if errors.Is(err, hub.ErrTooManyFeeds) {
		s.limited(TooManyFeeds)
		s.refuse(cmd.ID, wire.Errorf(wire.TooManyFeeds,
			"the connection would follow more than %d feeds; allowed: up to %d a connection", s.opt.Hub.MaxFeeds(), s.opt.Hub.MaxFeeds()))
		if len(lost) > 0 {
			s.deny(nil, lost)
		}
	}
}

func (s *Session) limited(l Limit) {
	if s.opt.Limited != nil {
		s.opt.Limited(l)
	}
}

// comeBack is the least delay that a client over a limit is told to wait before it reconnects.
const comeBack = time.Second

// tooMany ends the session, with the delay as the reason: never a short one, and another for each.
func (s *Session) tooMany(l Limit, delay time.Duration) error {
	s.limited(l)
	delay = max(delay, comeBack)
	delay += time.Duration(mathrand.Int64N(int64(delay)))
	return &wire.Close{Code: wire.CloseTooMany, Reason: fmt.Sprintf("%d ms", delay.Milliseconds())}
}

// Follow is a subscribe without an id, for transports on which clients send no commands. It is called by whoever would receive.
func (s *Session) Follow(ctx context.Context, feeds []feed.Name) {
	s.subscribe(ctx, wire.Command{Verb: wire.Subscribe, Feeds: feeds})
}

// mayRead tells which of the feeds the session may follow.
func (s *Session) mayRead(ctx context.Context, names []feed.Name) []auth.Verdict {
	verdicts := make([]auth.Verdict, len(names))
	var private []feed.Name
	var at []int // indexes of names
	for i, name := range names {
		if s.opt.Policies.For(name).Public {
			verdicts[i] = auth.Allowed
			continue
		}
		private, at = append(private, name), append(at, i)
	}
	if len(private) == 0 {
		return verdicts
	}
	more, _ := s.opt.Auth.(auth.Authorizer)
	for i, v := range auth.Weigh(ctx, more, s.Principal(), auth.Read, private, s.opt.Policies.Authorize) {
		verdicts[at[i]] = v
	}
	return verdicts
}
