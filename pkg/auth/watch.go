package auth

import "context"

// Revoker is what an Authenticator can do whose tokens can be taken back before they expire.
type Revoker interface {
	// Revoked tells whether p's token has been taken back since it was authenticated.
	Revoked(p *Principal) bool
	// Changed is closed when more has been revoked than when it was called.
	Changed() <-chan struct{}
}

// While gives a context that ends with ctx, when p's token expires, and when r (nil: nobody) takes it back; in these two cases its
// cause is an ErrInvalid. What waits on behalf of p waits with it.
func While(ctx context.Context, r Revoker, p *Principal) (context.Context, context.CancelFunc) {
	if p == nil || p.Expires.IsZero() {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, p.Expires, Refuse(Expired))
	if r == nil {
		return ctx, cancel
	}
	ctx, revoke := context.WithCancelCause(ctx)
	go func() {
		for {
			changed := r.Changed()
			if r.Revoked(p) {
				revoke(Refuse(Revoked))
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { revoke(nil); cancel() }
}
