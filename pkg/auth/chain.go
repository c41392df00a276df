package auth

import (
	"context"
	"errors"
)

// Chain asks one Authenticator after the other; the first that doesn't say ErrInvalid is believed. When all say so, the reason
// is the last one's.
type Chain []Authenticator

var _ Authenticator = Chain(nil)

// Authenticate implements Authenticator.
func (c Chain) Authenticate(ctx context.Context, token string) (*Principal, error) {
	err := Refuse(UnknownToken)
	for _, a := range c {
		var p *Principal
		if p, err = a.Authenticate(ctx, token); !errors.Is(err, ErrInvalid) {
			return p, err
		}
	}
	return nil, err
}
