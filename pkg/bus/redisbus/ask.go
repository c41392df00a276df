package redisbus

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// questionTTL is how long an answer is awaited before the question may be put again, and how long a claim to answer it
// holds.
const questionTTL = 10 * time.Second

// asking is a question that has been put. Guarded by Bus.mu.
type asking struct {
	names []feed.Name
	since time.Time
}

// want asks for heads: of the names at the given indexes, or of all of them (nil). With await, w waits for them.
func (b *Bus) want(w *delivery.Waiter, names []feed.Name, at []int, await bool) {
	n := len(names)
	name := func(i int) feed.Name { return names[i] }
	if at != nil {
		n = len(at)
		name = func(i int) feed.Name { return names[at[i]] }
	}
	for begin := 0; begin < n; begin += batch {
		var ask []feed.Name
		b.mu.Lock()
		for i := begin; i < min(begin+batch, n); i++ {
			name := name(i)
			if st := b.line(name).feeds[name]; st != nil && st.Head.Known { // it has come meanwhile
				continue
			}
			if await {
				b.waiting.Add(w, name)
			}
			if _, asked := b.asked[name]; !asked {
				b.asked[name] = struct{}{}
				ask = append(ask, name)
			}
		}
		b.mu.Unlock()
		if len(ask) > 0 {
			b.toAsk.add(ask...)
		}
	}
}

// askAll puts questions, up to 1,000 feeds in each. Redis tells how many hear one: where nobody does, there's no use in
// waiting.
func (b *Bus) askAll() {
	b.toAsk.each(b.ctx, batch, func(names []feed.Name) {
		q := question{id: strings.ToLower(rand.Text()), reply: b.lines[0].own, names: names}
		b.mu.Lock()
		b.questions[q.id] = asking{names: names, since: time.Now()}
		b.mu.Unlock()
		heard, err := b.client.Publish(b.ctx, b.keys.wanted, q.String()).Result()
		if err != nil || heard == 0 {
			b.over(q.id)
		}
	})
}

// replied hears what comes on the line's own channel.
func (b *Bus) replied(payload string) {
	if id, ok := strings.CutPrefix(payload, done); ok {
		b.over(id)
	}
}

// over ends a question: its feeds are known now, or nobody can tell. Followed ones that aren't are asked for again later.
func (b *Bus) over(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := b.questions[id].names
	delete(b.questions, id)
	for _, name := range names {
		delete(b.asked, name)
		b.waiting.Come(name)
		if st := b.line(name).feeds[name]; st != nil && !st.Head.Known {
			b.later[name] = struct{}{}
		}
	}
}

// expire ends questions that nobody has replied to.
func (b *Bus) expire(now time.Time) {
	var old []string
	b.mu.Lock()
	for id, q := range b.questions {
		if now.Sub(q.since) > questionTTL {
			old = append(old, id)
		}
	}
	b.mu.Unlock()
	for _, id := range old {
		b.over(id)
	}
}

// askAgain asks for those that nobody could tell the last time, and that are still followed.
func (b *Bus) askAgain() {
	b.mu.Lock()
	names := make([]feed.Name, 0, len(b.later))
	for name := range b.later {
		if st := b.line(name).feeds[name]; st != nil && st.InUse() && !st.Head.Known {
			names = append(names, name)
		}
	}
	clear(b.later)
	b.mu.Unlock()
	b.want(nil, names, nil, false)
}
