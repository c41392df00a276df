package rest

import (
	"context"
	"errors"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

func (p params) query() store.Query {
	return store.Query{Since: p.since, BareSeq: p.sinceBare, Limit: p.limit, MaxBytes: maxResponseBytes}
}

// hold waits while there is nothing new for a request for changes with wait. Then it is answered like any other, unless what came
// of it is final.
//
// What has to be found out before is found out on a goroutine of its own, which ends: the one that waits here is net/http's,
// and its stack, which is most of what waiting costs, stays as small as it was.
func (s *Server) hold(c *gin.Context) *held {
	found := make(chan *held, 1)
	go s.findOut(c, found)
	h := <-found
	if h.poll == nil {
		return h
	}
	ctx, end := s.while(c.Request.Context(), h.who)
	defer end()
	tracedWait(ctx, h.poll, h.wait)
	h.poll.Leave()
	forget(c)
	if err := context.Cause(ctx); errors.Is(err, auth.ErrInvalid) {
		h.err, h.final = err, true
		return h
	}
	// That there was nothing new stays true, and this server is about to stop: it would ask the database for each that waits.
	h.final = s.windows.Closed()
	return h
}

// readHeld answers with what was found before the wait, or ended it.
func (s *Server) readHeld(x *exchange, h *held) error {
	p := h.params
	x.setParams(p)
	return s.tell(x, s.windows.Feed(x.name), p, changesRead, h.reading, h.err)
}

// while gives a context for waiting on behalf of p (nil: of anybody), which ends when p's token does, with an auth.ErrInvalid.
func (s *Server) while(ctx context.Context, p *auth.Principal) (context.Context, context.CancelFunc) {
	if p == nil {
		return ctx, func() {}
	}
	by, _ := s.Auth.(auth.Revoker)
	return auth.While(ctx, by, p)
}

// held is a request that has to wait; without a poll it doesn't.
type held struct {
	poll *window.Poll
	wait time.Duration
	who  *auth.Principal // who may read what it waits for; nil: everybody
	// final: it is answered with what a read has come to already, reading or err.
	final   bool
	params  params
	reading window.Reading
	err     error
}

func (s *Server) findOut(c *gin.Context, found chan<- *held) {
	h := new(held)
	defer func() {
		if p := recover(); p != nil { // it comes again where the request is answered, and is taken care of there
			h = new(held)
		}
		found <- h
	}()
	begin := time.Now()
	x := &exchange{c: c, read: true}
	if s.findFeed(x) != nil {
		return
	}
	if !x.public() {
		var err error
		if h.who, err = s.mayDo(x, auth.Read); err != nil {
			return
		}
	}
	p, err := parseParams(c.Request.URL.RawQuery, true)
	if err != nil || p.wait == 0 {
		return
	}
	f := s.windows.Feed(x.name)
	r, err := tracedRead(x.ctx(), f, p.query(), p.atLeast)
	if errors.Is(err, window.ErrBehind) || errors.Is(err, window.ErrFull) || errors.Is(err, window.ErrClosed) {
		h.final, h.params, h.err = true, p, err
		return
	}
	floor, quiet := beyond(r, err)
	left := time.Until(begin.Add(p.wait))
	if !quiet || left <= 0 {
		return
	}
	h.params, h.reading, h.err = p, r, err
	if h.final = s.draining.Load(); h.final {
		return
	}
	h.poll, h.wait = s.windows.NewPoll(), left
	h.poll.On(f, floor)
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
