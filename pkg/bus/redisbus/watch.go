package redisbus

import (
	"time"
)

// probeTTL is how long the key that probes set outlives the last of them.
const probeTTL = time.Minute

// probe sends each line a message through the connections for commands, which shows that both work and lead to the same
// server; and sets a key, because a server that is full, or a replica, still takes messages but no heads.
func (b *Bus) probe() {
	for failures := 0; b.ctx.Err() == nil; {
		p := b.client.Pipeline()
		p.Set(b.ctx, b.keys.probe, "", probeTTL)
		for _, l := range b.lines {
			p.Publish(b.ctx, l.own, l.lag.pulse(b.now()))
		}
		pause := b.opts.ProbeEvery
		if _, err := p.Exec(b.ctx); err == nil {
			failures = 0
			b.reached.Store(b.now())
			b.reachable.Store(true)
		} else if failures++; failures > 1 {
			// Once may be a connection that has died of old age.
			pause /= 4
			b.reachable.Store(false)
			if failures == 2 && b.ctx.Err() == nil { // once per spell
				b.opts.Logger.WarnContext(b.ctx, "redis doesn't do what it's asked for", "error", err)
			}
		} else {
			pause = 0
		}
		b.judge()
		sleep(b.ctx, pause)
	}
}

// watch looks after what should have happened by now.
func (b *Bus) watch() {
	often := time.NewTicker(max(min(b.opts.ProbeEvery, b.opts.Timeout)/8, time.Millisecond))
	defer often.Stop()
	ask := time.NewTicker(b.opts.AskAgain)
	defer ask.Stop()
	for {
		select {
		case now := <-often.C:
			for _, l := range b.lines {
				l.check(now)
			}
			b.judge()
			b.expire(now)
		case <-ask.C:
			b.askAgain()
		case <-b.ctx.Done():
			return
		}
	}
}

// check ends a life on which nothing has come for too long.
func (l *line) check(now time.Time) {
	b := l.bus
	silent := b.since(l.heard.Load())
	b.mu.Lock()
	lf := l.life
	owing := len(l.rounds) > 0 && now.Sub(l.rounds[0].since) > b.opts.Timeout
	b.mu.Unlock()
	if lf == nil {
		return
	}
	if silent > b.opts.ProbeEvery+b.opts.Timeout || owing && silent > b.opts.Timeout {
		lf.kill(errSilent)
	}
}

// judge decides whether the bus is alive, and tells followers when that has changed.
func (b *Bus) judge() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	synced := b.reachable.Load()
	oldest := b.reached.Load()
	for _, l := range b.lines {
		synced = synced && l.synced.Load()
		oldest = min(oldest, l.good.Load())
	}
	recent := b.since(oldest) <= b.opts.LostAfter
	switch alive := b.alive.Load(); {
	case alive && !recent:
		b.alive.Store(false)
		for s := range b.subs {
			s.box.Lose()
		}
		b.opts.Logger.WarnContext(b.ctx, "redis is lost", "for", b.since(oldest))
	case !alive && recent && synced:
		// Every line has read its heads since it was last without a connection.
		b.alive.Store(true)
		for s := range b.subs {
			s.box.Find()
		}
		b.opts.Logger.InfoContext(b.ctx, "redis is found")
		if b.begun != nil {
			close(b.begun)
			b.begun = nil
		}
	}
}
