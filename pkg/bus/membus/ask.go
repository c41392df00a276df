package membus

import (
	"context"
	"slices"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// askPause is how long the bus waits before it asks again for heads that nobody could tell.
const askPause = time.Second

// Answer: Answerers that are registered at the same time share the questions. Heads of followed feeds that are
// unknown are asked for at once. The result waits for the call under way, whose context ends, so it must not be called
// from within the Answerer; calling it twice is fine.
func (b *Bus) Answer(a bus.Answerer) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		cancel()
		return func() {}
	}
	b.answerers++
	b.running.Go(func() {
		defer close(done)
		b.ask(ctx, a)
	})
	b.askAgainLocked()
	return func() {
		cancel()
		b.mu.Lock()
		b.asking.Broadcast()
		b.mu.Unlock()
		<-done
	}
}

// ask hands questions to a until ctx ends.
func (b *Bus) ask(ctx context.Context, a bus.Answerer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil {
		if len(b.toAsk) == 0 {
			b.asking.Wait()
			continue
		}
		names := b.toAsk[:min(batch, len(b.toAsk))]
		if b.toAsk = b.toAsk[len(names):]; len(b.toAsk) == 0 {
			b.toAsk = nil
		}
		resumed := b.resumed
		b.mu.Unlock()
		a(ctx, slices.Clone(names))
		b.mu.Lock()
		for _, name := range names {
			delete(b.asked, name)
		}
		switch {
		case b.resumed != resumed: // some answers may have been lost
			b.askAgainLocked()
		case slices.ContainsFunc(names, b.wantedLocked):
			b.askLaterLocked()
		}
	}
	b.answerers--
	if b.answerers > 0 {
		b.askAgainLocked()
		return
	}
	for _, name := range b.toAsk {
		delete(b.asked, name)
	}
	b.toAsk = nil
}

// askLocked puts the feed's head to an Answerer, if there is any and it hasn't been already.
func (b *Bus) askLocked(name feed.Name) {
	if b.answerers == 0 {
		return
	}
	if _, asked := b.asked[name]; asked {
		return
	}
	b.asked[name] = struct{}{}
	b.toAsk = append(b.toAsk, name)
	b.asking.Signal()
}

// askAgainLocked asks for all unknown heads that somebody waits for or follows.
func (b *Bus) askAgainLocked() {
	for name := range b.waiting {
		b.askLocked(name)
	}
	for name, st := range b.feeds {
		if !st.Head.Known {
			b.askLocked(name)
		}
	}
}

// wantedLocked tells whether the feed's head is unknown, and somebody waits for it or follows the feed.
func (b *Bus) wantedLocked(name feed.Name) bool {
	if st := b.feeds[name]; st != nil && !st.Head.Known {
		return true
	}
	_, awaited := b.waiting[name]
	return awaited
}

// askLaterLocked asks again for what the Answerer could not find out, after a pause: who follows a feed has nobody else to
// learn its head from.
func (b *Bus) askLaterLocked() {
	if b.askLater != nil || b.closed {
		return
	}
	b.askLater = time.AfterFunc(askPause, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.askLater = nil
		b.askAgainLocked()
	})
}

// awaitLocked makes w wait for the feed's head, if there is any hope for it.
func (b *Bus) awaitLocked(w *delivery.Waiter, name feed.Name) {
	if b.answerers > 0 {
		b.waiting.Add(w, name)
	}
}
