package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

const (
	// authTimeout is how long a token may take to be weighed.
	authTimeout = 10 * time.Second
	// maxDenied is how many feeds one message says are denied.
	maxDenied = 400
)

// authenticate tells whose token it is. The error is a [*wire.Close] for a token that is not valid; others mean that
// nobody can tell right now.
func (s *Session) authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	if s.opt.Auth == nil {
		return nil, invalidToken()
	}
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	principal, err := s.opt.Auth.Authenticate(ctx, token)
	switch {
	case errors.Is(err, auth.ErrInvalid):
		return nil, invalidToken()
	case err != nil:
		s.opt.Logger.Error("a token can't be weighed", "session", s.id.String(), "err", err)
		return nil, err
	}
	return principal, nil
}

// auth takes another token of the same subject, or the first one. What it no longer allows is denied and unsubscribed.
func (s *Session) auth(ctx context.Context, cmd wire.Command) error {
	principal, err := s.authenticate(ctx, cmd.Token)
	if invalid := (*wire.Close)(nil); errors.As(err, &invalid) {
		return invalid
	}
	if err != nil {
		s.refuse(cmd.ID, wire.Errorf(wire.Unavailable, "the token can't be weighed right now; the one before still holds"))
		return nil //nolint:nilerr // the client has been told
	}
	if before := s.Principal(); before != nil && before.Subject != principal.Subject {
		s.refuse(cmd.ID, wire.Errorf(wire.Forbidden,
			"the token is another subject's; allowed: one of the subject that the connection began with"))
		return nil
	}
	if err := s.adopt(principal); err != nil {
		return err
	}

	var lost []feed.Name
	followed := s.client.Feeds()
	for i, verdict := range s.mayRead(ctx, followed) {
		if verdict == auth.Forbidden { // of what nobody can tell right now, the subject has been told yes before
			lost = append(lost, followed[i])
		}
	}
	slices.Sort(lost)
	s.client.Unsubscribe(lost)
	if len(lost) > 0 || cmd.ID != nil {
		s.deny(cmd.ID, lost)
	}
	return nil
}

// deny tells of feeds that are not followed any more. The last message carries the id: with it, all has been said.
func (s *Session) deny(id []byte, lost []feed.Name) {
	for len(lost) > maxDenied {
		s.client.Answer(denied{nil, lost[:maxDenied]}, maxDenied, false)
		lost = lost[maxDenied:]
	}
	s.client.Answer(denied{id, lost}, len(lost), false)
}
