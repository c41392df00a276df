package hub

import (
	"context"
	"errors"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// attachLocked adds f to its feed's entry, and gives the entry.
func (h *Hub) attachLocked(name feed.Name, f *follow) *entry {
	e := h.feeds[name]
	if e == nil {
		e = &entry{name: name, number: h.numberLocked()}
		h.feeds[name] = e
		h.wanted[e] = struct{}{}
	}
	e.addLocked(f, h.opt.Shards.Len())
	h.sizeLocked(e)
	if e.idle != nil {
		h.idle.Remove(e.idle)
		e.idle = nil
	}
	if e.phase == leaving { // the Unfollow has not begun, so nothing was missed
		delete(h.leaving, e)
		e.setPhaseLocked(live)
	}
	return e
}

// detachLocked takes f from its entry. The last one out leaves the feed to linger, so that clients who reconnect
// don't thrash the bus.
func (h *Hub) detachLocked(f *follow) {
	e := f.entry
	e.removeLocked(f)
	h.sizeLocked(e)
	if e.followedLocked() {
		return
	}
	switch e.phase {
	case wanted:
		delete(h.wanted, e)
		h.forgetLocked(e)
	case retrying:
		delete(h.retrying, e)
		h.forgetLocked(e)
	case live:
		h.lingerLocked(e)
	case following, leaving, unfollowing: // the call's end decides
	}
}

// numberLocked gives a number that no feed has. They are used again, so that they stay small: whoever was told of one for
// another feed has left that since, and is told of the new one in an answer that comes after all of the old one's signals.
func (h *Hub) numberLocked() uint32 {
	if last := len(h.freeNumbers) - 1; last >= 0 {
		n := h.freeNumbers[last]
		h.freeNumbers = h.freeNumbers[:last]
		return n
	}
	h.lastNumber++
	return h.lastNumber
}

// forgetLocked drops an entry that the bus doesn't follow. Who still waits for it asked before it left.
func (h *Hub) forgetLocked(e *entry) {
	h.overtakeLocked(e)
	delete(h.feeds, e.name)
	h.freeNumbers = append(h.freeNumbers, e.number)
	h.settleLocked(e)
}

func (h *Hub) settleLocked(e *entry) {
	for _, a := range h.waiters[e] {
		a.client.settle(a)
	}
	delete(h.waiters, e)
}

func (h *Hub) lingerLocked(e *entry) {
	e.idle = h.idle.PushBack(idler{e, time.Now()})
	if h.idle.Len() > maxIdle {
		h.leaveLocked(h.idle.Front().Value.(idler).entry) //nolint:forcetypeassert // the list has nothing else
		h.dispatchLocked()
	}
	if h.idleTimer == nil && !h.closed {
		h.idleTimer = time.AfterFunc(h.opt.Linger, h.sweepIdle)
	}
}

func (h *Hub) leaveLocked(e *entry) {
	h.idle.Remove(e.idle)
	e.idle = nil
	e.setPhaseLocked(leaving)
	h.leaving[e] = struct{}{}
}

func (h *Hub) sweepIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idleTimer = nil
	if h.closed {
		return
	}
	for front := h.idle.Front(); front != nil; front = h.idle.Front() {
		idle := front.Value.(idler) //nolint:forcetypeassert // likewise
		if left := h.opt.Linger - time.Since(idle.since); left > 0 {
			h.idleTimer = time.AfterFunc(left, h.sweepIdle)
			break
		}
		h.leaveLocked(idle.entry)
	}
	h.dispatchLocked()
}

// dispatchLocked starts calls to the bus. On a quiet hub each command's feeds go at once, in one call; on a busy one
// what comes meanwhile shares the next call.
func (h *Hub) dispatchLocked() {
	for h.underWay < maxCalls && !h.closed && len(h.wanted)+len(h.leaving) > 0 {
		if batch := take(h.wanted, following); len(batch) > 0 {
			h.startLocked(func() { h.follow(batch) })
		}
		if batch := take(h.leaving, unfollowing); len(batch) > 0 {
			h.startLocked(func() { h.unfollow(batch) })
		}
	}
}

func take(set map[*entry]struct{}, next phase) []*entry {
	batch := make([]*entry, 0, min(len(set), maxBatch))
	for e := range set {
		if len(batch) == maxBatch {
			break
		}
		delete(set, e)
		e.setPhaseLocked(next)
		batch = append(batch, e)
	}
	return batch
}

func (h *Hub) startLocked(call func()) {
	h.underWay++
	h.calls.Go(call)
}

func names(batch []*entry) []feed.Name {
	n := make([]feed.Name, len(batch))
	for i, e := range batch {
		n[i] = e.name
	}
	return n
}

func (h *Hub) follow(batch []*entry) {
	ctx, cancel := context.WithTimeout(h.ctx, h.opt.FollowTimeout)
	heads, err := h.sub.Follow(ctx, names(batch)...)
	cancel()

	h.mu.Lock()
	defer h.mu.Unlock()
	h.underWay--
	if err != nil {
		h.refusedLocked(batch, err)
	} else {
		h.retryPause = 0
		for i, e := range batch {
			h.becameLiveLocked(e, heads[i])
		}
	}
	h.dispatchLocked()
}

func (h *Hub) becameLiveLocked(e *entry, head bus.Head) {
	if e.advanceLocked(head) { // a signal may have been faster
		h.overtakeLocked(e)
	}
	e.setPhaseLocked(live)
	h.tellLocked(e)
	h.settleLocked(e)
	if !e.followedLocked() {
		h.lingerLocked(e)
	}
}

// refusedLocked lets who waits for the feeds know that their heads are not known, and tries again later.
func (h *Hub) refusedLocked(batch []*entry, err error) {
	if !errors.Is(err, context.Canceled) {
		h.opt.Logger.Warn("feeds can't be followed right now", "feeds", len(batch), "err", err)
	}
	for _, e := range batch {
		if !e.followedLocked() {
			h.forgetLocked(e)
			continue
		}
		e.setPhaseLocked(retrying)
		h.retrying[e] = struct{}{}
		h.settleLocked(e)
	}
	if h.retryTimer == nil && len(h.retrying) > 0 && !h.closed {
		h.retryPause = min(max(2*h.retryPause, h.opt.RetryMin), h.opt.RetryMax)
		h.retryTimer = time.AfterFunc(h.retryPause, h.retry)
	}
}

func (h *Hub) retry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retryLocked()
}

func (h *Hub) retryLocked() {
	if h.retryTimer != nil {
		h.retryTimer.Stop()
		h.retryTimer = nil
	}
	for e := range h.retrying {
		delete(h.retrying, e)
		e.setPhaseLocked(wanted)
		h.wanted[e] = struct{}{}
	}
	h.dispatchLocked()
}

func (h *Hub) unfollow(batch []*entry) {
	h.sub.Unfollow(names(batch)...)

	h.mu.Lock()
	defer h.mu.Unlock()
	h.underWay--
	for _, e := range batch {
		if !e.followedLocked() {
			h.forgetLocked(e)
			continue
		}
		// Wanted again meanwhile. What the bus said in between may have been missed; Follow reads the head anew.
		e.setPhaseLocked(wanted)
		h.wanted[e] = struct{}{}
	}
	h.dispatchLocked()
}
