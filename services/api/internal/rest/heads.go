package rest

import (
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

func (s *Server) getHeads(x *exchange) error {
	s.allowReading(x, true)
	names, err := parseFeedQuery(x.c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	return s.sendHeads(x, names)
}

func (s *Server) postHeads(x *exchange) error {
	s.allowReading(x, true)
	const most = 512 << 10 // 1,000 of the longest names, and room
	body, err := s.jsonBody(x, most, tooLarge("too_large", "body", most))
	if err != nil {
		return err
	}
	names, err := parseFeeds(body)
	if err != nil {
		return err
	}
	return s.sendHeads(x, names)
}

// sendHeads answers from the bus alone. One feed that the caller may not read fails all: heads of the others would look
// like an answer about it. No cache may hold heads: they are what tells that held answers are old.
func (s *Server) sendHeads(x *exchange, names []feed.Name) error {
	var private []feed.Name
	for _, name := range names {
		if !s.Policies.For(name).Public {
			private = append(private, name)
		}
	}
	if len(private) > 0 {
		x.header().Del("Access-Control-Allow-Origin")
		x.header().Del("Access-Control-Expose-Headers")
		s.allowReading(x, false)
		if err := s.mayReadAll(x, private); err != nil {
			return err
		}
	}
	heads := make([]bus.Head, len(names))
	if s.Bus.Alive() { // otherwise what it remembers may be long past
		known, err := s.Bus.Heads(x.ctx(), names, s.HeadsWait)
		if err != nil {
			s.Logger.Warn("the bus doesn't tell heads", "error", err)
		} else {
			heads = known
		}
	}
	s.send(x, appendHeads(nil, names, heads))
	return nil
}
