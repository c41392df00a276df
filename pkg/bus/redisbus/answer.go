package redisbus

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// questionsAtMost is how many questions wait for an Answerer; beyond that the oldest are forgotten, and put again by
// whoever wants to know.
const questionsAtMost = 1000

// Answer returns when questions can be heard, or at once when Redis isn't there. Every node that has an Answerer hears every
// question, and the first to claim it in Redis answers. Answerers of one node share its questions. The result waits for
// the call under way, whose context ends, so it must not be called from within the Answerer; calling it twice is fine.
func (b *Bus) Answer(a bus.Answerer) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	l := b.lines[0]
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		cancel()
		return func() {}
	}
	b.answerers++
	ended := make(chan struct{})
	b.running.Go(func() {
		defer close(ended)
		b.answer(ctx, a)
	})
	c := &call{done: make(chan struct{}), left: 1}
	if l.life == nil {
		c.finishLocked(bus.ErrUnavailable)
	} else {
		l.wanted = true
		l.unwritten = append(l.unwritten, b.keys.wanted)
		l.pending = append(l.pending, &joining{call: c})
		poke(l.wake)
	}
	b.mu.Unlock()
	select {
	case <-c.done:
	case <-b.ctx.Done():
	}
	return func() {
		cancel()
		b.mu.Lock()
		b.answering.Broadcast()
		b.mu.Unlock()
		<-ended
	}
}

// answer hands questions to a until ctx ends.
func (b *Bus) answer(ctx context.Context, a bus.Answerer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil {
		if len(b.toAnswer) == 0 {
			b.answering.Wait()
			continue
		}
		n, size := 0, 0
		for ; n < len(b.toAnswer); n++ {
			if size += len(b.toAnswer[n].names); size > batch {
				break
			}
		}
		some := slices.Clone(b.toAnswer[:n])
		b.toAnswer = slices.Delete(b.toAnswer, 0, n)
		b.mu.Unlock()
		b.answerSome(ctx, a, some)
		b.mu.Lock()
	}
	if b.answerers--; b.answerers == 0 {
		b.toAnswer = nil
		poke(b.lines[0].wake)
	}
}

// answerSome answers questions of up to 1,000 names together, if no other node does.
func (b *Bus) answerSome(ctx context.Context, a bus.Answerer, some []question) {
	mine := b.claim(some)
	if len(mine) == 0 {
		return
	}
	var names []feed.Name
	for _, q := range mine {
		names = append(names, q.names...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	// Another question may have brought the answer meanwhile.
	heads, err := b.read(ctx, names)
	if err == nil {
		unknown := names[:0]
		for i, name := range names {
			if !heads[i].Known {
				unknown = append(unknown, name)
			}
		}
		if len(unknown) > 0 {
			a(ctx, unknown)
		}
	}
	p := b.client.Pipeline()
	for _, q := range mine { // answered or not: whoever waits in vain may ask again
		p.Publish(b.ctx, q.reply, done+q.id)
	}
	if _, err := p.Exec(b.ctx); err != nil && b.ctx.Err() == nil {
		b.opts.Logger.DebugContext(b.ctx, "a reply was lost", "error", err)
	}
}

// claim gives the questions that nobody else has claimed.
func (b *Bus) claim(some []question) (mine []question) {
	p := b.client.Pipeline()
	cmds := make([]*redis.StatusCmd, len(some))
	for i, q := range some {
		cmds[i] = p.SetArgs(b.ctx, in(b.keys.claim, q.id), "1", redis.SetArgs{Mode: "NX", TTL: questionTTL})
	}
	_, _ = p.Exec(b.ctx) // each command has its own error; a claimed one has, too
	for i, q := range some {
		if cmds[i].Err() == nil {
			mine = append(mine, q)
		}
	}
	return mine
}

// questioned hears a question from any node.
func (b *Bus) questioned(payload string) {
	q, ok := b.keys.parseQuestion(payload)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answerers == 0 {
		return
	}
	if len(b.toAnswer) >= questionsAtMost {
		b.toAnswer = slices.Delete(b.toAnswer, 0, 1)
	}
	b.toAnswer = append(b.toAnswer, q)
	b.answering.Signal()
}
