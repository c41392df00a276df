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

// readOrWait reads what p asks for. While there is nothing new it waits, if p says so: a request that waits costs what
// net/http needs for it, a place in the feed's list and one in the wheel.
func (s *Server) readOrWait(x *exchange, f *window.Feed, p params) (window.Reading, error) {
	until := time.Now().Add(p.wait)
	for {
		r, err := f.Read(x.ctx(), p.query(), p.atLeast)
		floor, quiet := beyond(r, err)
		left := time.Until(until)
		if !quiet || left <= 0 || s.draining.Load() {
			return r, err
		}
		if news := s.await(x, f, floor, left); !news {
			// Nothing has come, as far as anybody knows; without the bus, this asks the store.
			return f.Read(x.ctx(), p.query(), p.atLeast)
		}
		f = s.windows.Feed(x.name) // it may have been let go of
	}
}

// await waits for one feed. It is on its own to keep the stack of those who wait small.
func (s *Server) await(x *exchange, f *window.Feed, floor window.Floor, d time.Duration) (news bool) {
	p := s.windows.NewPoll()
	p.On(f, floor)
	defer p.Leave()
	return p.Wait(x.ctx(), d)
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
