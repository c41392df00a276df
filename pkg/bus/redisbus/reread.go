package redisbus

import (
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// readHeads reads the heads of rounds that have been confirmed, and from time to time those of everything, until the life is
// over.
func (l *line) readHeads(lf *life) {
	b := l.bus
	again := time.NewTicker(b.opts.RereadEvery)
	defer again.Stop()
	for {
		select {
		case <-l.reads:
		case <-again.C:
			b.mu.Lock()
			l.confirmed = append(l.confirmed, l.everythingLocked())
			b.mu.Unlock()
		case <-lf.ctx.Done():
			return
		}
		b.mu.Lock()
		rounds := l.confirmed
		l.confirmed = nil
		b.mu.Unlock()
		if len(rounds) == 0 {
			continue
		}
		if err := l.readRounds(lf, rounds); err != nil {
			lf.kill(err)
			return
		}
	}
}

func (l *line) everythingLocked() *round {
	r := &round{whole: true}
	for name, st := range l.feeds {
		if st.InUse() {
			r.names = append(r.names, name)
		}
	}
	return r
}

// readRounds reads all of their heads in as few commands as possible, and ends the calls that wait for them.
func (l *line) readRounds(lf *life, rounds []*round) error {
	b := l.bus
	var names []feed.Name
	whole, first := false, false
	for _, r := range rounds {
		names = append(names, r.names...)
		whole, first = whole || r.whole, first || r.first
	}
	heads, err := b.read(lf.ctx, names)
	if err == nil {
		l.learn(names, heads, whole)
	} else {
		err = b.unavailable("read heads", err)
	}
	if err == nil && first {
		l.synced.Store(true)
		l.heardNow()
		b.judge()
		if l == b.lines[0] {
			b.topics.Gap()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rounds {
		for _, j := range r.joins {
			j.call.finishLocked(err)
		}
	}
	return err
}

// learn notes heads that have been read. Where signals may have been lost, followers are told of those that have moved since
// they were last told; otherwise the signal is on its way. Unknown ones are asked for, unless a call does it.
func (l *line) learn(names []feed.Name, heads []bus.Head, tell bool) {
	b := l.bus
	var unknown []feed.Name
	for len(names) > 0 {
		n := min(batch, len(names))
		b.mu.Lock()
		for i, name := range names[:n] {
			st := l.feeds[name]
			if st == nil {
				continue
			}
			if heads[i].Newer(st.Head) {
				st.Head, st.untold = heads[i], tell || st.Shared()
				b.waiting.Come(name)
			}
			switch {
			case tell && st.untold:
				st.untold = false
				st.Signal()
			case tell && !heads[i].Known && st.InUse():
				unknown = append(unknown, name)
			}
		}
		b.mu.Unlock()
		names, heads = names[n:], heads[n:]
	}
	if len(unknown) > 0 {
		b.want(nil, unknown, nil, false)
	}
}
