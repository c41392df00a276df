package membus

import (
	"context"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// subscription is a Box of this bus.
type subscription struct {
	bus *Bus
	box *delivery.Box
}

// Subscribe works while the bus is interrupted, too.
func (b *Bus) Subscribe(f bus.Follower) (bus.Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, bus.ErrClosed
	}
	s := &subscription{bus: b, box: delivery.NewBox(&b.mu, f, !b.lost)}
	b.subs[s] = struct{}{}
	b.running.Go(s.box.Run)
	return s, nil
}

func (s *subscription) Follow(ctx context.Context, names ...feed.Name) ([]bus.Head, error) {
	b := s.bus
	heads := make([]bus.Head, len(names))
	claimed := make([]*delivery.Follow, 0, len(names))
	w := delivery.NewWaiter()
	var unknown []int // indexes of names
	for at := 0; at < len(names); at += batch {
		b.mu.Lock()
		if err := s.errLocked(); err != nil {
			b.mu.Unlock()
			b.waiting.Forget(&b.mu, w)
			s.box.Settle(claimed, false, s.bus.leftLocked)
			return nil, err
		}
		for i := at; i < min(at+batch, len(names)); i++ {
			f := s.claimLocked(names[i])
			claimed = append(claimed, f)
			if heads[i] = f.Feed.Head; !heads[i].Known {
				unknown = append(unknown, i)
				b.askLocked(names[i])
				b.awaitLocked(w, names[i])
			}
		}
		b.mu.Unlock()
	}
	if len(unknown) > 0 {
		err := b.waiting.Wait(ctx, &b.mu, w, b.askWait, s.box.Ended(), b.ctx.Done())
		if err == nil {
			err = b.fill(heads, names, unknown)
		}
		if err != nil {
			s.box.Settle(claimed, false, s.bus.leftLocked)
			return nil, err
		}
	}
	s.box.Settle(claimed, true, s.bus.leftLocked)
	return heads, nil
}

// claimLocked makes the feed followed, for as long as the call of Follow lasts or for good.
func (s *subscription) claimLocked(name feed.Name) *delivery.Follow {
	st := s.bus.stateLocked(name)
	f := s.box.Claim(&st.Feed)
	f.Attach()
	s.bus.tidyLocked(st)
	return f
}

func (s *subscription) Unfollow(names ...feed.Name) { s.box.Unfollow(names, s.bus.leftLocked) }

// leftLocked looks after a feed that has lost a follower.
func (b *Bus) leftLocked(f *delivery.Feed) {
	if st := b.feeds[f.Name]; st != nil {
		b.tidyLocked(st)
	}
}

// Close waits for the call of the Follower that is under way, if any.
func (s *subscription) Close() {
	s.bus.mu.Lock()
	s.endLocked()
	s.bus.mu.Unlock()
	<-s.box.Done()
}

func (s *subscription) endLocked() {
	s.box.Close(s.bus.leftLocked)
	delete(s.bus.subs, s)
}

func (s *subscription) errLocked() error {
	if s.box.Closed() {
		return bus.ErrClosed
	}
	return s.bus.errLocked()
}
