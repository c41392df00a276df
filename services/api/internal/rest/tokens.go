package rest

import (
	"context"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// tokens wakes what waits on behalf of tokens that are taken back: one goroutine for all, which runs while there are any. It is
// safe for concurrent use.
type tokens struct {
	by auth.Revoker // static; nil: no token is taken back

	mu      sync.Mutex
	waiting map[*held]struct{} // guarded by mu, as below
	none    chan struct{}      // closed when nobody is left
}

func (t *tokens) add(h *held) {
	if t.by == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.waiting, t.none = make(map[*held]struct{}), make(chan struct{})
		go t.watch(t.none)
	}
	t.waiting[h] = struct{}{}
	t.lookLocked(h) // the watch may have looked before
}

func (t *tokens) remove(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, in := t.waiting[h]; !in {
		return
	}
	if delete(t.waiting, h); len(t.waiting) == 0 {
		close(t.none)
	}
}

func (t *tokens) watch(none <-chan struct{}) {
	for {
		changed := t.by.Changed()
		t.mu.Lock()
		for h := range t.waiting {
			t.lookLocked(h)
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-none:
			return
		}
	}
}

func (t *tokens) lookLocked(h *held) {
	if !h.revoked.Load() && t.by.Revoked(h.who) {
		h.revoked.Store(true)
		h.poll.Wake()
	}
}

// waitFor waits on behalf of h.who, whose token ends the wait when it does; then with an auth.ErrInvalid.
func (s *Server) waitFor(ctx context.Context, h *held, d time.Duration) (news bool, ended error) {
	ends := h.who.Expires
	if ends.IsZero() {
		return h.poll.Wait(ctx, d), nil
	}
	if left := time.Until(ends); left < d {
		defer time.AfterFunc(left, h.poll.Wake).Stop()
	}
	s.tokens.add(h)
	news = h.poll.Wait(ctx, d)
	s.tokens.remove(h)
	switch {
	case h.revoked.Load():
		return false, auth.Refuse(auth.Revoked)
	case !time.Now().Before(ends):
		return false, auth.Refuse(auth.Expired)
	}
	return news, nil
}
