package doorbell

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// climb brings a follower that is several heads behind to the newest by the steps that the crowd took, whose URLs caches hold: the
// oldest first, and when that was answered with no more than a step, all the others at once. What they leave, and
// whatever goes wrong, is for a pull of the newest, so that it takes three round trips at most.
func (f *follower) climb(ctx context.Context, now signals) error {
	pages, err := f.pull(ctx, now.ahead[0], now)
	if err != nil || pages == 0 {
		f.direct = true
		return err
	}
	if len(now.ahead.beyond(f.have)) == 0 {
		return nil // the origin's word, or a cache's newest; what has come meanwhile is the next pull's
	}
	left := f.left(now.ahead)
	if pages == 1 && len(left) > 1 { // where one step takes several pages, the next may as well
		if ok, err := f.leap(ctx, left); err != nil || !ok {
			f.direct = true
			return err
		}
		left = left.beyond(f.have)
	}
	if len(left) == 0 {
		return nil
	}
	pages, err = f.pull(ctx, left[len(left)-1], f.box.view())
	f.direct = pages == 0
	return err
}

// left are the heads to reach: of those known, and of the ones that have come meanwhile if they are due. None when the
// way there isn't one of steps any more; wait sees what it is.
func (f *follower) left(known backlog) backlog {
	now := f.box.view()
	if now.mode() != Live || now.fatal != nil || now.head.epoch != f.have.epoch {
		return nil
	}
	if !now.pullAt.After(time.Now()) {
		known = now.ahead
	}
	return known.beyond(f.have)
}

// step is a delta that is known to have been a step of the crowd.
type step struct {
	since, to cursor

	done   chan struct{} // closed when what follows is there
	page   *Page
	header http.Header
	err    error
}

// leap asks for the steps from where the follower is over all heads, together, and hands those that fit over as one delta. ok: no
// step failed that was needed; which of the heads are reached is another question.
func (f *follower) leap(ctx context.Context, heads backlog) (ok bool, err error) {
	asking, cancel := context.WithTimeout(ctx, readTimeout)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var steps []*step
	from := f.have
	for _, to := range heads {
		s := &step{since: from, to: to, done: make(chan struct{})}
		all.Go(func() {
			defer close(s.done)
			s.page, s.header, s.err = f.client.page(asking, f.feed, s.since.text, ReadOptions{AtLeast: s.to.text, Limit: f.opts.Limit}, "")
		})
		steps = append(steps, s)
		from = to
	}
	var sum *Page
	var failed *step
	at := f.have
	for _, s := range steps {
		if s.since.text != at.text {
			continue // an answer led further than it was asked to
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
		f.succeeded(false, true, pollAfter(s.header))
		if s.page.More {
			break
		}
	}
	if sum != nil {
		if err := f.give(ctx, sum); err != nil {
			return false, err
		}
	}
	switch now := f.box.view(); {
	case failed != nil:
		return false, f.failed(ctx, failed.err, failed.to, now)
	case sum.More: // its cursor may be beyond all heads, and is none
		pages, err := f.pull(ctx, heads[len(heads)-1], now)
		return pages > 0, err
	}
	return true, nil
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
	kept := slices.DeleteFunc(slices.Clone(p.Changes), func(ch Change) bool { return again[ch.Key] || ch.Seq <= sum.Trimmed })
	sum.Changes = append(kept, next.Changes...)
	return &sum
}
