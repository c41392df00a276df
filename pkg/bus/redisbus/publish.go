package redisbus

import (
	"context"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// publishesAtOnce is the most publishes in one round trip.
const publishesAtOnce = 500

// publishing is one call of Publish.
type publishing struct {
	scripted
	name feed.Name
	done chan error // holds one
}

// Publish waits for one round trip, which it may share with other calls; at most about twice Options.Timeout.
func (b *Bus) Publish(ctx context.Context, name feed.Name, c feed.Cursor) error {
	if err := b.err(); err != nil {
		return err
	}
	ttl := headTTL
	if c.IsZero() {
		ttl = absentTTL
	}
	p := &publishing{name: name, done: make(chan error, 1)}
	p.keys = []string{in(b.keys.head, string(name)), in(b.keys.due, string(name))}
	p.args = []any{headText(c), in(b.keys.signal, string(name)), int64(ttl / time.Second), b.intervalMS(name), bus.TraceOf(ctx)}
	b.publishes.add(p)
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		return bus.ErrClosed
	}
}

func (b *Bus) intervalMS(name feed.Name) int64 {
	d := b.opts.Interval(name)
	if d <= 0 {
		return 0
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// publishAll carries out what has been put into the queue.
func (b *Bus) publishAll() {
	b.publishes.each(b.ctx, publishesAtOnce, func(all []*publishing) {
		runs := make([]*scripted, len(all))
		for i, p := range all {
			runs[i] = &p.scripted
		}
		b.runScript(b.ctx, publishScript, runs)
		var lost error
		for _, p := range all {
			if p.err != nil {
				lost = lostIn(lost, p.err)
				p.done <- b.unavailable("publish a head", p.err)
				continue
			}
			if wait := p.result[1]; wait > 0 {
				b.debts.owe(p.name, p.result[0], wait)
			}
			p.done <- nil
		}
		if lost != nil { // those behind have waited for as long, and would for as long again
			for _, p := range b.publishes.takeAll() {
				p.done <- b.unavailable("publish a head", lost)
			}
		}
	})
}
