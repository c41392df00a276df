package rest

import (
	"errors"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func (s *Server) getSnapshot(x *exchange) error { return s.readFeed(x, false) }

func (s *Server) getChanges(x *exchange) error { return s.readFeed(x, true) }

// readFeed answers with a snapshot, or a delta.
func (s *Server) readFeed(x *exchange, delta bool) error {
	x.setReadHeaders()
	p, err := parseParams(x.c.Request.URL.RawQuery, delta)
	if err != nil {
		return err
	}
	x.setParams(p)
	if s.unchanged(x, p, delta) {
		return nil
	}
	d, err := s.delta(x.ctx(), x.name, p)
	if err != nil {
		if reset, ok := errors.AsType[*feed.ResetError](err); ok {
			s.announce.Found(x.name, reset.Head)
		}
		return err
	}
	s.announce.Found(x.name, d.Head)
	tag := ""
	switch {
	case d.More: // another limit or time would end it elsewhere
	case delta:
		tag = deltaTag(d.Since, d.Cursor)
	default:
		tag = snapshotTag(d.Cursor)
	}
	x.sendRead(tag, d.Cursor, func() []byte {
		return appendDelta(make([]byte, 0, deltaSize(d)), d, !delta)
	})
	return nil
}

// unchanged answers 304 without the store, when the client names the answer that the bus's head says it would get.
func (s *Server) unchanged(x *exchange, p params, delta bool) bool {
	lists := x.c.Request.Header.Values("If-None-Match")
	if len(lists) == 0 {
		return false
	}
	head, ok := s.busHead(x.ctx(), x.name)
	if !ok || !p.atLeast.Met(head) {
		return false
	}
	tag, ok := tagFor(p, delta, head)
	if !ok || !matches(lists, tag) {
		return false
	}
	x.sendRead(tag, head, nil)
	return true
}
