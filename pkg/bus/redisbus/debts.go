package redisbus

import (
	"context"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	// payAgain is how long after a failure a signal that is owed is tried again; payTries is how often. After that long,
	// followers have read the heads again by themselves.
	payAgain = 500 * time.Millisecond
	payTries = 60
)

// debts are the signals that this process owes at the next multiples of their intervals.
//
// Every process that has published a feed owes its signal, and tries to pay it at the same time; Redis lets the first do it,
// with the head as it is then. So no process that dies takes a signal with it that another has published. All
// times are of Redis's clock: what is waited for here is the difference that it has told.
type debts struct {
	// static
	wake chan struct{} // holds one: something is due earlier than before

	mu  sync.Mutex
	due map[int64]*debt // by Redis's Unix milliseconds; few, as all feeds of one interval have the same
}

// debt is what is owed at one moment.
type debt struct {
	at    time.Time
	feeds map[feed.Name]struct{}
	tries int
}

func (d *debts) init() {
	d.wake = make(chan struct{}, 1)
	d.due = make(map[int64]*debt)
}

// owe notes that the feed's signal is to be sent at due (Unix ms of Redis), which is so many microseconds from now.
func (d *debts) owe(name feed.Name, due, wait int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.due[due]
	if e == nil {
		e = &debt{at: time.Now().Add(time.Duration(wait) * time.Microsecond), feeds: make(map[feed.Name]struct{})}
		d.due[due] = e
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	e.feeds[name] = struct{}{}
}

// take removes what is due at now, and tells when the next is.
func (d *debts) take(now time.Time) (due []*debt, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, e := range d.due {
		switch {
		case !e.at.After(now):
			due = append(due, e)
			delete(d.due, key)
		case next.IsZero() || e.at.Before(next):
			next = e.at
		}
	}
	return due, next
}

// again puts back what couldn't be paid.
func (d *debts) again(names []feed.Name, tries int) {
	if len(names) == 0 || tries >= payTries {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := &debt{at: time.Now().Add(payAgain), feeds: make(map[feed.Name]struct{}, len(names)), tries: tries + 1}
	for _, name := range names {
		e.feeds[name] = struct{}{}
	}
	key := int64(-1) // of no moment of Redis's
	for d.due[key] != nil {
		key--
	}
	d.due[key] = e
}

// payDebts pays what is due, with one timer for everything.
func (b *Bus) payDebts() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for b.ctx.Err() == nil {
		due, next := b.debts.take(time.Now())
		for _, e := range due {
			b.debts.again(b.pay(b.ctx, e, false), e.tries)
		}
		if len(due) > 0 {
			continue
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-b.debts.wake:
		case <-b.ctx.Done():
		}
	}
}

// pay gives back the feeds of which it isn't known whether they have been paid.
func (b *Bus) pay(ctx context.Context, e *debt, early bool) (left []feed.Name) {
	names := make([]feed.Name, 0, len(e.feeds))
	for name := range e.feeds {
		names = append(names, name)
	}
	flag := "0"
	if early {
		flag = "1"
	}
	for len(names) > 0 {
		some := names[:min(publishesAtOnce, len(names))]
		names = names[len(some):]
		runs := make([]*scripted, len(some))
		for i, name := range some {
			runs[i] = &scripted{
				keys: []string{in(b.keys.head, string(name)), in(b.keys.due, string(name))},
				args: []any{in(b.keys.signal, string(name)), flag},
			}
		}
		b.runScript(ctx, payScript, runs)
		for i, r := range runs {
			switch {
			case r.err != nil:
				left = append(left, some[i])
			case r.result[1] > 0: // another process owes a later one, which is as much ours
				b.debts.owe(some[i], r.result[0], r.result[1])
			}
		}
	}
	return left
}

// payEarly pays everything at once, before this process ends.
func (d *debts) payEarly(b *Bus) {
	ctx, cancel := context.WithTimeout(b.ctx, b.opts.Timeout)
	defer cancel()
	due, _ := d.take(time.Now().Add(24 * time.Hour))
	for _, e := range due {
		if !b.reachable.Load() || ctx.Err() != nil {
			return
		}
		b.pay(ctx, e, true)
	}
}
