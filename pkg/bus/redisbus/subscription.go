package redisbus

import (
	"context"
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// subscription is a Box of this bus.
type subscription struct {
	bus *Bus
	box *delivery.Box
}

// Subscribe works while Redis is away, too.
func (b *Bus) Subscribe(f bus.Follower) (bus.Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, bus.ErrClosed
	}
	s := &subscription{bus: b, box: delivery.NewBox(&b.mu, f, b.alive.Load())}
	b.subs[s] = struct{}{}
	b.boxes.Go(s.box.Run)
	return s, nil
}

// Follow takes two round trips, each shared with other calls: one subscribes, one reads the heads. When Redis stops answering
// meanwhile it fails within about twice Options.Timeout.
func (s *subscription) Follow(ctx context.Context, names ...feed.Name) ([]bus.Head, error) {
	b := s.bus
	follows, c, err := s.join(names)
	if err != nil {
		s.box.Settle(follows, false, s.bus.leftLocked)
		return nil, err
	}
	heads, err := s.heads(ctx, c, names, follows)
	s.box.Settle(follows, err == nil, s.bus.leftLocked)
	if err != nil && b.ctx.Err() != nil {
		err = bus.ErrClosed
	}
	return heads, err
}

// join claims the feeds and gives each to its line.
func (s *subscription) join(names []feed.Name) ([]*delivery.Follow, *call, error) {
	b := s.bus
	joins := make(map[*line]*joining, len(b.lines))
	c := &call{done: make(chan struct{}), left: 1} // until all are with their lines
	follows := make([]*delivery.Follow, 0, len(names))
	for some := range slices.Chunk(names, batch) {
		b.mu.Lock()
		if err := s.errLocked(); err != nil {
			b.mu.Unlock()
			return follows, nil, err
		}
		for _, name := range some {
			l := b.line(name)
			st := l.feeds[name]
			if st == nil {
				st = &state{Feed: delivery.Feed{Name: name}}
				l.feeds[name] = st
			}
			f := s.box.Claim(&st.Feed)
			follows = append(follows, f)
			j := joins[l]
			if j == nil {
				j = &joining{call: c}
				joins[l] = j
			}
			j.follows = append(j.follows, f)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for l, j := range joins {
		c.left++
		if l.life == nil {
			c.finishLocked(bus.ErrUnavailable)
			continue
		}
		l.pending = append(l.pending, j)
		poke(l.wake)
	}
	c.finishLocked(nil)
	return follows, c, nil
}

// heads waits until all is live, and for heads that aren't known.
func (s *subscription) heads(ctx context.Context, c *call, names []feed.Name, follows []*delivery.Follow) ([]bus.Head, error) {
	b := s.bus
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.box.Ended():
		return nil, bus.ErrClosed
	}
	if c.err != nil {
		return nil, c.err
	}
	heads := make([]bus.Head, len(names))
	for at := 0; at < len(names); at += batch {
		b.mu.Lock()
		for i := at; i < min(at+batch, len(names)); i++ {
			heads[i] = follows[i].Feed.Head
		}
		b.mu.Unlock()
	}
	unknown := unknownOf(heads)
	if len(unknown) == 0 {
		return heads, nil
	}
	w := delivery.NewWaiter()
	b.want(w, names, unknown, true)
	if err := b.waiting.Wait(ctx, &b.mu, w, b.opts.AskWait, s.box.Ended(), b.ctx.Done()); err != nil {
		return nil, err
	}
	return heads, b.fill(ctx, heads, names, unknown)
}

func (s *subscription) Unfollow(names ...feed.Name) { s.box.Unfollow(names, s.bus.leftLocked) }

// leftLocked has the feed's channel left, if nobody follows it any more by then.
func (b *Bus) leftLocked(f *delivery.Feed) {
	if f.InUse() {
		return
	}
	l := b.line(f.Name)
	l.leaving = append(l.leaving, f.Name)
	poke(l.wake)
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
	switch {
	case s.box.Closed() || s.bus.closed:
		return bus.ErrClosed
	case !s.bus.alive.Load():
		return bus.ErrUnavailable
	}
	return nil
}
