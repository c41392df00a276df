package session

import (
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// What answers are made of, beside the heads that the hub adds.
type (
	subscribed struct {
		id     []byte
		denied []feed.Name
	}
	unsubscribed struct {
		id    []byte
		feeds []feed.Name
	}
	denied struct {
		id    []byte
		feeds []feed.Name
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
	select {
	case <-s.opened:
	default:
		return b
	}
	if !s.greeted {
		s.greeted = true
		return wire.AppendHello(b, s.id, s.opt.PingMillis)
	}
	ev := events.Get().(*hub.Event)
	defer func() {
		ev.Tag = nil
		events.Put(ev)
	}()
	s.client.Next(ev)
	switch ev.Kind {
	case hub.Changed:
		return wire.AppendChanged(b, ev.Heads)
	case hub.Liveness:
		return wire.AppendDegraded(b, !ev.Alive)
	case hub.Answer:
		return appendAnswer(b, ev)
	case hub.Nothing:
	}
	return b
}

func appendAnswer(b []byte, ev *hub.Event) []byte {
	switch a := ev.Tag.(type) {
	case subscribed:
		return wire.AppendSubscribed(b, a.id, ev.Heads, a.denied)
	case unsubscribed:
		return wire.AppendUnsubscribed(b, a.id, a.feeds)
	case denied:
		return wire.AppendDenied(b, a.id, a.feeds)
	case pong:
		return wire.AppendPong(b, a.id, a.n)
	case refused:
		return wire.AppendError(b, a.id, a.err)
	}
	return b
}
