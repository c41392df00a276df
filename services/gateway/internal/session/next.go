package session

import (
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// What answers are made of, beside the heads that the hub adds.
type (
	subscribed struct {
		id     []byte
		denied []wire.Denial
	}
	unsubscribed struct {
		id    []byte
		feeds []feed.Name
	}
	denied struct {
		id    []byte
		feeds []feed.Name
	}
	expiring struct{ at time.Time }
	goaway   struct {
		why      Away
		inMillis int64
	}
	pong    struct{ id, n []byte }
	refused struct {
		id  []byte
		err *wire.Error
	}
)

// events lends its buffers for as long as a message is being written.
var events = sync.Pool{New: func() any { return new(hub.Event) }}

// Next appends the next message to b, or nothing when there is none right now. What it has appended counts as told.
func (s *Session) Next(b []byte) []byte {
	if !s.opened.Load() {
		return b
	}
	if !s.greeted {
		s.greeted = true
		return s.kind.Encoding.AppendHello(b, s.id.String(), s.opt.PingMillis)
	}
	ev := events.Get().(*hub.Event) //nolint:forcetypeassert // the pool has nothing else
	defer func() {
		ev.Tag = nil
		events.Put(ev)
	}()
	s.client.Next(ev)
	switch ev.Kind {
	case hub.Changed:
		return s.kind.Encoding.AppendChanged(b, ev.Heads)
	case hub.Liveness:
		return s.kind.Encoding.AppendDegraded(b, !ev.Alive)
	case hub.Answer:
		return appendAnswer(s.kind.Encoding, b, ev)
	case hub.Nothing:
	}
	return b
}

func appendAnswer(to wire.Encoding, b []byte, ev *hub.Event) []byte {
	switch a := ev.Tag.(type) {
	case subscribed:
		return to.AppendSubscribed(b, a.id, ev.Heads, a.denied)
	case unsubscribed:
		return to.AppendUnsubscribed(b, a.id, a.feeds)
	case denied:
		return to.AppendDenied(b, a.id, a.feeds)
	case expiring:
		return to.AppendExpiring(b, max(0, time.Until(a.at).Milliseconds()))
	case goaway:
		return to.AppendGoaway(b, a.why.String(), a.inMillis)
	case pong:
		return to.AppendPong(b, a.id, a.n)
	case refused:
		return to.AppendError(b, a.id, a.err)
	}
	return b
}
