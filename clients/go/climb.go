package doorbell

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// mayClimb tells whether a follower goes to the newest head by steps, whose URLs all share who ever were where it is.
func (f *follower) mayClimb(now signals) bool {
	return now.mode() == Live && now.head.compare(f.have) > 0 && !f.have.isZero() && f.have.base == 0 && !f.direct
}

// climb brings a follower to the newest head by the steps that the crowd took, which caches hold: one at first, and when that was
// answered with an old step, those after it at once. Where they don't lead, a milestone does, and steps from there; whatever goes
// wrong is for a pull of the newest. So it takes two round trips as a rule, and a few more from far behind.
func (f *follower) climb(ctx context.Context, now signals) error {
	known, from := now.head, f.have
	first := from.next()
	if from.compare(now.gap) < 0 && known.seq-from.seq > maxClimb {
		first = from.milestone(known)
	}
	pages, err := f.pull(ctx, first, now)
	if err != nil || pages == 0 {
		f.direct = true
		return err
	}
	single := f.have.seq == from.seq+1
	for leaps := 0; ; leaps++ {
		if f.have.compare(known) >= 0 {
			return nil // the origin's word, or a cache's newest; what has come meanwhile is the next pull's
		}
		now := f.box.view()
		if now.mode() != Live || now.fatal != nil || now.head.epoch != f.have.epoch {
			return nil //nolint:nilerr // now.fatal is an error that wait gives
		}
		if !now.pullAt.After(time.Now()) {
			known = now.head
		}
		if pages > 1 || leaps == maxLeaps { // where one step takes several pages, the next may as well
			if pages, err = f.pull(ctx, f.have.milestone(known), now); err != nil || pages == 0 {
				f.direct = true
				return err
			}
			single, leaps = false, -1
			continue
		}
		var ok bool
		if single, ok, err = f.leap(ctx, f.places(now.ahead, known, single), known); err != nil || !ok {
			f.direct = true
			return err
		}
	}
}

// places are where others may have been on the way from here to known, oldest first, maxBacklog at most: at each seq where
// changes come singly, otherwise at the heads.
func (f *follower) places(heads backlog, known cursor, single bool) []cursor {
	all := []cursor{f.have}
	if single {
		for at := f.have.next(); at.compare(known) < 0 && len(all) < maxBacklog; at = at.next() {
			all = append(all, at)
		}
		return all
	}
	for _, at := range heads.beyond(f.have) {
		if at.compare(known) < 0 && len(all) < maxBacklog {
			all = append(all, at)
		}
	}
	return all
}

// step is the delta from a place where others may have been.
type step struct {
	since, to cursor

	done   chan struct{} // closed when what follows is there
	page   *Page
	header http.Header
	err    error
}

// leap asks for the steps from several places, of which the follower is at the first, together, and hands those that fit over as one delta.
// single: one of them led a single seq on. ok: no step failed that was needed; whether known is reached is another question.
func (f *follower) leap(ctx context.Context, places []cursor, known cursor) (single, ok bool, err error) {
	asking, cancel := context.WithTimeout(ctx, readTimeout)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var steps []*step
	for _, place := range places {
		s := &step{since: place, to: place.next(), done: make(chan struct{})}
		all.Go(func() {
			defer close(s.done)
			s.page, s.header, s.err = f.client.page(asking, f.feed, s.since.text, ReadOptions{AtLeast: s.to.text, Limit: f.opts.Limit}, "")
		})
		steps = append(steps, s)
	}
	var sum *Page
	var failed *step
	at := f.have
	for _, s := range steps {
		if s.since.text != at.text {
			continue // an answer led further than this place
		}
		f.await(s.done)
		if s.err == nil {
			s.err = at.leadsTo(s.page)
		}
		if s.err != nil {
			failed = s
			break
		}
		sum = sum.and(s.page)
		at, _ = parseCursor(s.page.Cursor) // leadsTo has parsed it
		single = single || at.text == s.to.text
		f.succeeded(false, true, pollAfter(s.header))
		if s.page.More {
			break
		}
	}
	if sum != nil {
		if err := f.give(ctx, sum); err != nil {
			return false, false, err
		}
	}
	switch now := f.box.view(); {
	case failed != nil:
		return false, false, f.failed(ctx, failed.err, failed.to, now)
	case sum.More: // its cursor may be beyond known, and is no head
		pages, err := f.pull(ctx, known, now)
		return false, pages > 0, err
	}
	return single, true, nil
}

// and is the delta of p and then of next, each key once. A nil Page is no delta.
func (p *Page) and(next *Page) *Page {
	if p == nil {
		return next
	}
	again := make(map[string]bool, len(next.Changes))
	for _, ch := range next.Changes {
		again[ch.Key] = true
	}
	sum := *next
	sum.Since, sum.Trimmed = p.Since, max(p.Trimmed, next.Trimmed)
	// Trimmed comes before the changes of a page, so what is gone by now is left out.
	sum.Changes = slices.DeleteFunc(slices.Clone(p.Changes), func(ch Change) bool { return again[ch.Key] || ch.Seq <= sum.Trimmed })
	sum.Changes = append(sum.Changes, next.Changes...)
	return &sum
}
