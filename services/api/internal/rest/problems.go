package rest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/admission"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// Codes that more than one place needs.
const (
	codeNotFound        = "not_found"
	codeNoFeed          = "no_feed"
	codeInternal        = "internal"
	codeUnauthorized    = "unauthorized"
	codeForbidden       = "forbidden"
	codeForbiddenOrigin = "forbidden_origin"
)

// fail answers with the problem that err is, or stands for. What a handler has said about the answer that it
// did not give is taken back.
func (s *Server) fail(x *exchange, err error) {
	p := s.problem(x, err)
	h := x.header()
	if x.read && (x.name == "" || x.public()) {
		s.allowReading(x, true)
	}
	if x.read && x.name != "" {
		x.setReadHeaders()
	}
	for _, name := range []string{"ETag", "Content-Length"} {
		h.Del(name)
	}
	if reset, ok := errors.AsType[*feed.ResetError](err); ok {
		h.Set("Doorbell-Cursor", reset.Head.String())
	} else {
		h.Del("Doorbell-Cursor")
	}
	setCacheHeaders(h, outcome{
		read: x.read, public: x.public(), canonical: x.canonical, pinned: x.pinned, status: p.Status, code: p.Code,
	}, x.policy.Cache)
	problem.Write(x.c.Writer, p)
}

// problem finds out what to tell the client, and logs what it is not told.
func (s *Server) problem(x *exchange, err error) *problem.Problem {
	var (
		p            *problem.Problem
		syntax       *feed.SyntaxError
		reset        *feed.ResetError
		precondition *feed.PreconditionError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &syntax):
		return problem.New(http.StatusBadRequest, syntaxCode(syntax), syntax.Error())
	case errors.Is(err, feed.ErrNoFeed):
		return problem.New(http.StatusNotFound, codeNoFeed, "the feed "+string(x.name)+" doesn't exist")
	case errors.Is(err, feed.ErrNoItem):
		return problem.New(http.StatusNotFound, "no_item", "the feed "+string(x.name)+" has no such item")
	case errors.As(err, &reset):
		s.metrics.resets.Inc()
		return problem.New(http.StatusGone, "reset", reset.Error()).
			With("reason", string(reset.Reason)).
			With("cursor", reset.Head.String()).
			With("snapshot", "/v1/feeds/"+string(x.name)+"?at_least="+reset.Head.String())
	case errors.As(err, &precondition):
		p = problem.New(http.StatusPreconditionFailed, "precondition_failed", precondition.Error()).
			With("current", precondition.Current.String())
		if precondition.Key != "" {
			p = p.With("key", precondition.Key)
		}
		return p
	case errors.Is(err, admission.ErrBusy):
		p := retryLater("overloaded", "the database has enough to do right now; nothing was done")
		p.RetryAfter = 1 + rand.IntN(5) // so that not all come back together
		return p
	case errors.Is(err, window.ErrBehind), errors.Is(err, window.ErrFull):
		return retryLater("behind", "this server hasn't come up to at_least yet")
	case errors.Is(err, auth.ErrUnavailable):
		s.Logger.Warn("who may do what can't be told", "error", err)
		return retryLater("unavailable", "who may do what can't be told right now")
	case errors.Is(err, auth.ErrInvalid): // it ended while the request waited
		return errInvalidToken
	case errors.Is(err, window.ErrClosed):
		return retryLater("unavailable", "this server is shutting down")
	case errors.Is(err, store.ErrRewound):
		s.Logger.Warn("the database has been rewound, and a worker has to look after it", "feed", x.name, "error", err)
		return retryLater("recovering", "the database has been restored or replaced; no write is taken, nor done, until feeds that "+
			"may lack some have new epochs")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		if x.ctx().Err() == nil {
			s.Logger.Warn("the store is unavailable", "method", x.c.Request.Method, "feed", x.name, "error", err)
		}
		if x.write {
			return retryLater("unavailable", "the database doesn't answer right now; the write may have happened or not")
		}
		return retryLater("unavailable", "the database doesn't answer right now")
	}
	s.Logger.Error("a request failed", "method", x.c.Request.Method, "path", x.c.Request.URL.Path, "error", err)
	return errInternal
}

func retryLater(code, detail string) *problem.Problem {
	p := problem.New(http.StatusServiceUnavailable, code, detail)
	p.RetryAfter = 1
	return p
}

func syntaxCode(e *feed.SyntaxError) string {
	switch e.What {
	case "key":
		return "bad_key"
	case "cursor":
		return "bad_cursor"
	}
	return "bad_feed"
}
