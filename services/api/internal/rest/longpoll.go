package rest

import (
	"errors"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

func (p params) query() store.Query {
	return store.Query{Since: p.since, BareSeq: p.sinceBare, Limit: p.limit, MaxBytes: maxResponseBytes}
}

// readHeld answers a request for changes with wait, or while there is nothing new leaves it to wait.
func (s *Server) readHeld(x *exchange, h *held) error {
	if h.ended != nil {
		return h.ended
	}
	if !h.over {
		var err error
		if h.params, err = parseParams(x.c.Request.URL.RawQuery, true); err != nil {
			return err
		}
	}
	p := h.params
	x.setParams(p)
	f := s.windows.Feed(x.name)
	// That there was nothing new stays true of a server that is about to stop: it would ask the database for each that waits.
	if !h.over || !s.windows.Closed() {
		h.reading, h.err = tracedRead(x.ctx(), f, p.query(), p.atLeast)
	}
	if floor, quiet := beyond(h.reading, h.err); quiet && !h.over && !s.draining.Load() {
		if until := h.begun.Add(p.wait); time.Until(until) > 0 {
			poll := s.windows.NewPoll()
			h.hold(x.c, poll, until, x.who)
			poll.On(f, floor)
			return nil
		}
	}
	return s.tell(x, f, p, changesRead, h.reading, h.err)
}

// beyond tells whether a read brought nothing new, and what would be.
func beyond(r window.Reading, err error) (floor window.Floor, quiet bool) {
	switch {
	case errors.Is(err, feed.ErrNoFeed):
		return window.Beyond(feed.Cursor{}), true
	case err != nil:
		return floor, false
	}
	d := r.Delta
	quiet = !d.More && !d.Since.IsZero() && d.Since.Seq == d.Cursor.Seq
	return window.Beyond(d.Cursor), quiet
}

// sendAway has a client that is waiting, or would have, come back on another connection, which leads to another server, when
// this one is about to stop.
func (s *Server) sendAway(x *exchange) bool {
	if !s.draining.Load() {
		return false
	}
	x.header().Set("Connection", "close")
	return true
}

// Drain has long polls answered at once from now on, with the advice to come back at once on another connection; those that
// wait already go on, until Close.
func (s *Server) Drain() { s.draining.Store(true) }

// Polling is how many long polls wait.
func (s *Server) Polling() int { return s.windows.Parked() }
