package rest

import (
	"context"
	"net/http"
	"strconv"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

func (s *Server) postChanges(x *exchange) error {
	ifHead, err := writeConditions(x.c.Request.Header, false)
	if err != nil {
		return err
	}
	most := x.policy.MaxBatchBytes
	body, err := s.jsonBody(x, most, tooLarge("too_large", "body", most))
	if err != nil {
		return err
	}
	edits, err := parseChanges(body, x.policy)
	if err != nil {
		return err
	}
	return s.append(x, store.Write{Edits: edits, IfHead: ifHead})
}

// touchFeed moves the head for no item.
func (s *Server) touchFeed(x *exchange) error {
	ifHead, err := writeConditions(x.c.Request.Header, false)
	if err != nil {
		return err
	}
	if err := s.noBody(x); err != nil {
		return err
	}
	return s.append(x, store.Write{Touch: true, IfHead: ifHead})
}

// append does the write, signals it and answers. The client can't part the first two by leaving.
func (s *Server) append(x *exchange, w store.Write) error {
	w.MaxItems = x.policy.MaxItems
	var err error
	if w.Once, err = s.once(x, appendWritten); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx()), s.WriteTimeout)
	defer cancel()
	written, err := s.writer.Append(ctx, x.name, w)
	if err != nil {
		return s.orRepeat(x, err)
	}
	if written.Changed() {
		s.announce.Committed(x.ctx(), x.name, written.Cursor)
	}
	s.send(x, appendWritten(nil, written))
	return nil
}

func appendWritten(b []byte, w store.Written) []byte {
	b = appendCursor(append(b, `{"cursor":`...), w.Cursor)
	b = append(b, `,"first":`...)
	return append(strconv.AppendInt(b, w.First, 10), '}')
}

func appendDropped(b []byte, w store.Written) []byte {
	return append(appendCursor(append(b, `{"cursor":`...), w.Cursor), '}')
}

var errIfMatchRequired = problem.New(http.StatusPreconditionRequired, "if_match_required",
	`a feed is dropped with If-Match: "<its cursor>" only, so that nobody drops what they haven't seen`)

// dropFeed answers with the head of the feed's next life.
func (s *Server) dropFeed(x *exchange) error {
	var ifHead *feed.Cursor
	ifHead, err := writeConditions(x.c.Request.Header, false)
	if err != nil {
		return err
	}
	if ifHead == nil {
		return errIfMatchRequired
	}
	if err := s.noBody(x); err != nil {
		return err
	}
	once, err := s.once(x, appendDropped)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx()), s.WriteTimeout)
	defer cancel()
	head, err := s.writer.Drop(ctx, x.name, ifHead, once)
	if err != nil {
		return s.orRepeat(x, err)
	}
	s.announce.Committed(x.ctx(), x.name, head)
	s.send(x, appendDropped(nil, store.Written{Cursor: head}))
	return nil
}
