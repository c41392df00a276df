package doorbell

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// readTimeout bounds one read of a follower. The server itself waits 2 s at most.
	readTimeout = time.Minute

	resetLoop   = 3 // so many resets
	resetWithin = 10 * time.Second
	resetRest   = 15 * time.Second // and up to twice that
)

// catchUp reads until what was signalled is there. Failures that time may cure are noted for the next wait; an error is final.
func (f *follower) catchUp(ctx context.Context) error {
	now := f.box.take()
	ctx = now.traced(ctx, f.have)
	if !f.told && !f.resetting && now.link == linkUp && !now.unknown && now.head == f.have {
		return f.caughtUp(ctx) // already there, nothing to read
	}
	if !f.have.isZero() && now.head.epoch > f.have.epoch {
		f.startOver(now.head) // no delta leads there, so ask for none
		if time.Now().Before(f.notBefore) {
			return nil
		}
	}
	if f.mayClimb(now) {
		return f.climb(ctx, now)
	}
	// Without a newer head, the answer is whatever there is.
	target := f.floor
	if now.head.compare(f.have) > 0 && now.head.compare(target) > 0 {
		target = now.head
	}
	pages, err := f.pull(ctx, target, now)
	if pages > 0 {
		f.direct = false
	}
	return err
}

// pull reads until there is no more, and up to target at least. pages: so many it took; 0: it has not come there, and
// when to try again is planned.
func (f *follower) pull(ctx context.Context, target cursor, now signals) (pages int, err error) {
	polled := now.mode() == Polling
	for {
		page, after, err := f.read(ctx, target)
		if err != nil {
			return 0, f.failed(ctx, err, target, now)
		}
		pages++
		f.succeeded(polled, page != nil && page.Cursor != f.have.text, after)
		if page == nil { // 304
			return pages, nil
		}
		if err := f.give(ctx, page); err != nil {
			return 0, err
		}
		if !page.More {
			return pages, nil
		}
		if f.box.view().fatal != nil {
			return 0, nil //nolint:nilerr // wait gives it
		}
	}
}

// read gets the next page and checks that it fits. A page of nil means that nothing has changed.
func (f *follower) read(ctx context.Context, target cursor) (*Page, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	o := ReadOptions{AtLeast: target.text, Limit: f.opts.Limit}
	path, err := pageURL(f.feed, f.have.text, o)
	if err != nil {
		return nil, 0, err
	}
	etag := ""
	if target.isZero() && !f.have.isZero() && path == f.etagPath {
		etag = f.etag
	}
	page, header, err := f.page(ctx, o, etag)
	if err != nil {
		return nil, 0, err
	}
	after := pollAfter(header)
	if page == nil {
		return nil, after, nil
	}
	if err := f.have.leadsTo(page); err != nil {
		return nil, 0, err
	}
	f.etagPath, f.etag = path, header.Get("ETag")
	return page, after, nil
}

// page is Client.page for the loop.
func (f *follower) page(ctx context.Context, o ReadOptions, etag string) (page *Page, header http.Header, err error) {
	since, done := f.have.text, make(chan struct{})
	go func() {
		defer close(done)
		page, header, err = f.client.page(ctx, f.feed, since, o, etag)
	}()
	f.await(done)
	return page, header, err
}

// await waits until an answer is there, and keeps OnStatus informed meanwhile.
func (f *follower) await(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-f.box.wake: // wait looks at the box whether or not there is a token
			f.report(f.box.view())
		}
	}
}

// leadsTo tells why a page, which is one to the question, must not be applied by a follower at c.
func (c cursor) leadsTo(page *Page) error {
	to, err := parseCursor(page.Cursor)
	if err != nil {
		return fmt.Errorf("doorbell: %w", err)
	}
	switch {
	case !c.isZero() && (to.epoch != c.epoch || to.seq < c.seq):
		return fmt.Errorf("doorbell: the delta since %s ends at %s", c.text, page.Cursor)
	case page.More && page.Cursor == c.text:
		return fmt.Errorf("doorbell: the page after %s leads nowhere", page.Cursor)
	}
	return nil
}

// give hands a page to the consumer.
func (f *follower) give(ctx context.Context, page *Page) error {
	if f.resetting {
		f.resetting, f.trimmed = false, 0
		f.told = false // a CaughtUp is owed
		if err := f.emit(ctx, Event{Kind: Reset}); err != nil {
			return err
		}
	}
	if page.Trimmed > f.trimmed {
		f.trimmed = page.Trimmed
		if err := f.emit(ctx, Event{Kind: Trimmed, Trimmed: page.Trimmed, Cursor: f.have.text}); err != nil {
			return err
		}
	}
	moved := page.Cursor != f.have.text
	for i, ch := range page.Changes {
		e := Event{Kind: Changed, Change: ch, Cursor: f.have.text}
		if i == len(page.Changes)-1 {
			e.Cursor = page.Cursor
		}
		if err := f.emit(ctx, e); err != nil {
			return err
		}
	}
	f.have, _ = parseCursor(page.Cursor) // leadsTo has parsed it
	f.floor = cursor{}
	f.box.setHave(f.have)
	if !page.More && (moved || !f.told) {
		return f.caughtUp(ctx)
	}
	return nil
}

func (f *follower) caughtUp(ctx context.Context) error {
	f.told = true
	return f.emit(ctx, Event{Kind: CaughtUp, Cursor: f.have.text})
}

func (f *follower) emit(ctx context.Context, e Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !f.yield(e) {
		return errLeft
	}
	return nil
}

func (f *follower) succeeded(polled, news bool, after time.Duration) {
	f.problem, f.retryAt = nil, time.Time{}
	f.retry.reset()
	if polled || after > 0 {
		f.poll.answered(news, after)
	}
	f.pollAt = time.Time{}
	if polled {
		f.pollAt = time.Now().Add(f.poll.next())
	}
}

// failed plans what to do about a failed read; it gives the error back when nothing can be done.
func (f *follower) failed(ctx context.Context, err error, target cursor, now signals) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	polled := now.mode() == Polling
	exists := now.link == linkUp && !now.head.isZero() // so the gateway says
	p, _ := errors.AsType[*Problem](err)
	switch {
	case p == nil:
	case p.Status == http.StatusGone:
		f.succeeded(polled, true, 0) // an answer, and no failure
		f.reset(p)
		return nil
	case p.Code == "no_feed" && target.isZero() && !exists:
		f.succeeded(polled, false, 0)
		return f.gone(ctx)
	case p.Code == "no_feed": // a replica or a cache that is behind, or a reset's word that doesn't hold
		f.floor = cursor{}
	case isFinal(p):
		return err
	}
	f.problem = err
	f.failures++
	f.pollAt = time.Time{}
	delay := f.retry.next()
	if polled {
		f.poll.failed()
		delay = f.poll.next()
	}
	if p != nil && p.RetryAfter > 0 {
		delay = p.RetryAfter + random(p.RetryAfter/2)
		f.notBefore = time.Now().Add(p.RetryAfter)
	}
	f.retryAt = time.Now().Add(delay)
	return nil
}

// isFinal tells whether the same request can't ever succeed: the key may not, or Doorbell itself (some proxy's
// page has no code) finds the request wrong.
func isFinal(p *Problem) bool {
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return true
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return p.Status/100 == 4 && p.Code != ""
}

// gone: the feed doesn't exist, which is the same as being empty.
func (f *follower) gone(ctx context.Context) error {
	if f.have.isZero() && !f.resetting {
		if f.told {
			return nil
		}
		return f.caughtUp(ctx)
	}
	f.have, f.resetting, f.trimmed = cursor{}, false, 0
	f.box.setHave(f.have)
	if err := f.emit(ctx, Event{Kind: Reset}); err != nil {
		return err
	}
	return f.caughtUp(ctx)
}

// reset takes a 410: there is no way on from here.
func (f *follower) reset(p *Problem) {
	var floor cursor
	if u, err := url.Parse(p.Snapshot); err == nil {
		if c, err := parseCursor(u.Query().Get("at_least")); err == nil && !c.isZero() {
			f.box.refute(f.have, c)
			floor = c
		}
	}
	f.startOver(floor)
	f.retryAt = time.Now()
}

// startOver goes back to the beginning. The Reset is given together with the snapshot, so that a consumer keeps what
// it has until there is something better.
func (f *follower) startOver(floor cursor) {
	f.have, f.floor, f.resetting = cursor{}, floor, true
	f.box.setHave(f.have)
	now := time.Now()
	f.resets = append(f.resets, now)
	f.resets = slices.DeleteFunc(f.resets, func(t time.Time) bool { return now.Sub(t) > resetWithin })
	if len(f.resets) >= resetLoop {
		f.resets = nil
		f.problem = ErrResetLoop
		f.failures++
		f.notBefore = now.Add(resetRest + random(resetRest))
		f.retryAt = f.notBefore
	}
}
