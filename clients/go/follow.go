package doorbell

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// firstSignalWithin is how long the first read waits for the first connection: with a signalled head the read can be served by
// any cache, and is the only one.
const firstSignalWithin = 2 * time.Second

// FollowOptions shape one [Client.Follow]. The zero value follows from the beginning.
type FollowOptions struct {
	// Since is where to go on from: an Event.Cursor that was stored. "" gives all of the feed's items first.
	Since string
	// Limit is how many changes are read at once, at most 10,000; 0 for 1,000.
	Limit int
	// OnStatus hears each change of status and each failure, one at a time, in the goroutine that ranges
	// over the events, between two of them.
	OnStatus func(Status)
}

// Follow gives a feed's changes in the order of their seqs, from o.Since on, and then each new one as it comes. An item that
// changed several times since the last event comes once as a rule, and with its latest value in the end.
//
// It hears of changes over a WebSocket, or polls where that is not to be had or not to be relied on. It survives restarts of
// server and network by itself; failures go to o.OnStatus. A feed that doesn't exist is an empty one that may be born later.
//
// The sequence ends when the loop is left, or with one last pair that holds the error: that of ctx, a *[Refused] by the
// gateway, a *[Problem] that trying again won't cure (401, 403, other requests the server calls wrong), or what is
// wrong with the arguments. The connection is closed before that pair is given.
//
// While the loop's body runs, signals are heard and combined, and nothing is read: a slow consumer
// loses versions in between and never the last. The sequence may be ranged over again, and begins at o.Since again.
func (c *Client) Follow(ctx context.Context, feed string, o FollowOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := c.follow(ctx, feed, o, func(e Event) bool { return yield(e, nil) })
		if !errors.Is(err, errLeft) {
			yield(Event{}, err)
		}
	}
}

// errLeft says that the consumer has left the loop.
var errLeft = errors.New("the consumer left")

func (c *Client) follow(ctx context.Context, feed string, o FollowOptions, yield func(Event) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := feedPath(feed); err != nil {
		return err
	}
	since, err := parseCursor(o.Since)
	if err != nil {
		return fmt.Errorf("doorbell: Since: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{
		client: c, feed: feed, opts: o, box: newInbox(), yield: yield,
		have: since, pollAt: time.Now().Add(firstSignalWithin),
	}
	f.box.setHave(since)
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&socket{client: c, feed: feed, box: f.box}).run(ctx)
	}()
	defer func() { // also when the loop's body panics
		cancel()
		<-done
	}()
	for {
		if err := f.wait(ctx); err != nil {
			return err
		}
		if err := f.catchUp(ctx); err != nil {
			return err
		}
	}
}

// follower is one Follow. All of it belongs to the goroutine that ranges; the socket's goroutine has only the box.
type follower struct {
	// Static.
	client *Client
	feed   string
	opts   FollowOptions
	box    *inbox
	yield  func(Event) bool

	// Where the consumer is.
	have      cursor // zero: at the beginning
	told      bool   // CaughtUp was given once
	resetting bool   // a Reset is to be given with the next page
	trimmed   int64  // the last that was given, in this epoch

	// What the next read has to be.
	floor    cursor // after a reset: what the snapshot has to cover
	etag     string // of etagPath's last answer
	etagPath string
	direct   bool // a step has failed: to the newest head without any

	// When the next read is.
	poll      pollClock
	pollAt    time.Time // zero: no poll is due
	retryAt   time.Time // after a failure; zero: there was none
	notBefore time.Time // the server asked to be left alone until then, or resets go round
	retry     backoff
	resets    []time.Time // the latest, oldest first

	// What OnStatus was told.
	problem  error // of the last read
	failures int
	reported Status
	faults   int
}

// wait returns when it is time to read, or with the error that ends it all.
func (f *follower) wait(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		now := f.box.view()
		if now.fatal != nil {
			return now.fatal
		}
		f.report(now)
		due, some := f.due(now)
		if some {
			delay := time.Until(due)
			if delay <= 0 {
				return nil
			}
			timer.Reset(delay)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case <-f.box.wake:
		case <-timer.C:
		}
	}
}

// due tells when the next read is to be, if any is.
func (f *follower) due(now signals) (at time.Time, some bool) {
	earliest := func(t time.Time) {
		if !some || t.Before(at) {
			at, some = t, true
		}
	}
	switch mode := now.mode(); {
	case mode == Live:
		f.pollAt = time.Time{}
	case mode == Polling && !f.told:
		f.pollAt = time.Now() // no head to wait for
	case mode == Polling && f.pollAt.IsZero():
		f.pollAt = time.Now().Add(f.poll.first())
	}
	if !f.retryAt.IsZero() {
		earliest(f.retryAt) // neither polls nor signals hurry a read that has failed
	} else {
		if !f.pollAt.IsZero() {
			earliest(f.pollAt)
		}
		if now.head.compare(f.have) > 0 {
			earliest(now.pullAt)
		}
	}
	if now.fresh && (!f.told || now.began != f.have) {
		earliest(now.pullAt) // a new subscription does: the server is back
	}
	if some && at.Before(f.notBefore) {
		at = f.notBefore
	}
	return at, some
}

// report tells OnStatus what is new.
func (f *follower) report(now signals) {
	s := Status{Mode: now.mode(), Err: f.problem}
	if s.Err == nil {
		s.Err = now.problem
	}
	faults := now.faults + f.failures
	same := s.Mode == f.reported.Mode && (s.Err == nil) == (f.reported.Err == nil) && faults == f.faults
	f.reported, f.faults = s, faults
	if !same && f.opts.OnStatus != nil {
		f.opts.OnStatus(s)
	}
}
