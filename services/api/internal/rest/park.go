package rest

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// parking serves the routes, and has requests that wait for news do that where it costs least: most of what they cost is the
// stack of net/http's goroutine, which doubles where calls get deep and hardly ever shrinks. So the routes look at such a request on
// another goroutine, and either answer it or leave it to wait; after the wait they look at it once more, from the beginning: what was
// right before need not be any more.
type parking struct {
	s      *Server
	routes http.Handler
	crew   *crew
}

func (p *parking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !mayWait(r) {
		p.routes.ServeHTTP(w, r)
		return
	}
	h := &held{ResponseWriter: w, begun: time.Now(), done: make(chan any, 1)}
	look := func() { p.look(h, r) }
	for p.aside(look, h); h.poll != nil; p.aside(look, h) {
		h.wait(r.Context(), p.s)
	}
}

// mayWait tells whether a request is one of those that may have to wait. It may be wrong about that, but not the other way round.
func mayWait(r *http.Request) bool {
	return strings.Contains(r.URL.RawQuery, "wait=") || r.URL.Path == pollPath
}

func (p *parking) aside(look func(), h *held) {
	p.crew.do(look)
	if failed := <-h.done; failed != nil {
		panic(failed) // what the routes don't take care of is net/http's business
	}
}

// look has the request served, and what was answered sent: what net/http has to do for that needs a large stack, too.
func (p *parking) look(h *held, r *http.Request) {
	defer func() { h.done <- recover() }()
	p.routes.ServeHTTP(h, r)
	if h.poll == nil {
		_ = http.NewResponseController(h.ResponseWriter).Flush() // the client may be gone
	}
}

// held is a request that may wait, and what was found out before it did. It belongs to the goroutine that serves the request.
type held struct {
	http.ResponseWriter
	begun time.Time
	done  chan any // gets what a look at it has panicked with, or nil

	poll  *window.Poll // nil: it doesn't wait
	until time.Time
	who   *auth.Principal // who may read what it waits for; nil: everybody
	// revoked: the token is taken back. The one field that others set.
	revoked atomic.Bool

	over  bool  // it has waited,
	news  bool  // maybe something came of it,
	ended error // or the token is none any more

	// of a read: what is asked for, and what there was before the wait, or why there was nothing
	params  params
	reading window.Reading
	err     error

	query *pollQuery // of a poll

	traced context.Context // has the request's span; nil: it isn't traced
}

// statusWaits is the status of a request that is left to wait. It is sent to nobody.
const statusWaits = 1

// heldBy is the request's held, if it is one that may wait; otherwise nil.
func heldBy(c *gin.Context) *held {
	w, _ := c.Writer.(interface{ Unwrap() http.ResponseWriter })
	if w == nil {
		return nil
	}
	h, _ := w.Unwrap().(*held)
	return h
}

// hold leaves the request to wait with p until then, on behalf of who.
func (h *held) hold(c *gin.Context, p *window.Poll, until time.Time, who *auth.Principal) {
	h.poll, h.until, h.who = p, until, who
	clear(c.Writer.Header())
	c.Status(statusWaits)
}

// wait waits.
func (h *held) wait(ctx context.Context, s *Server) {
	p, d := h.poll, time.Until(h.until)
	span := h.traceWait()
	defer span.End()
	if h.who == nil {
		h.news = p.Wait(ctx, d)
	} else {
		h.news, h.ended = s.waitFor(ctx, h, d)
	}
	p.Leave()
	h.poll, h.over = nil, true
}

// Unwrap gives http.ResponseController what it controls.
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// WriteHeader says nothing yet of a request that waits.
func (h *held) WriteHeader(status int) {
	if status != statusWaits {
		h.ResponseWriter.WriteHeader(status)
	}
}
