package rest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// pollReading is how long one poll goes on reading feeds. What it hasn't come to by then it leaves out: those moved, so the
// client's next poll is answered at once.
const pollReading = 3 * time.Second

// pollQuery is the body of a poll.
type pollQuery struct {
	feeds []polledFeed
	wait  time.Duration
	limit int
}

// polledFeed is one feed of a poll, and what becomes of it.
type polledFeed struct {
	exchange // of this feed alone
	since    feed.Cursor
	feed     *window.Feed
	floor    window.Floor // what would be news; only where something may come
	body     []byte       // a delta or a problem
	moved    bool         // body ends a wait
	after    int          // Doorbell-Poll-After
}

// postPoll answers with the deltas of those feeds that moved, and the problems of those that failed. While there is neither
// it waits, if the body says so; that a feed doesn't exist, or may not be read, is in the answer but doesn't end a wait.
func (s *Server) postPoll(x *exchange) error {
	s.allowReading(x, true)
	h := heldBy(x.c)
	q := h.query
	if q == nil {
		const most = 512 << 10 // 1,000 of the longest names with their cursors, and room
		body, err := s.jsonBody(x, most, tooLarge("too_large", "body", most))
		if err != nil {
			return err
		}
		if q, err = parsePoll(body); err != nil {
			return err
		}
		h.query, h.begun = q, time.Now()
	}
	who := s.admitPoll(x, q, h.ended)
	// A server that is about to stop would ask the database for all that wait.
	if !h.over || !s.windows.Closed() {
		moved := s.pollOnce(x, q)
		until := h.begun.Add(q.wait)
		if !moved && (!h.over || h.news) && time.Until(until) > 0 && !s.draining.Load() && x.ctx().Err() == nil {
			h.hold(x.c, s.pollFor(q), until, who)
			return nil
		}
	}
	after := maxPoll
	for i := range q.feeds {
		after = min(after, q.feeds[i].after)
	}
	if s.sendAway(x) {
		after = 0
	}
	x.header()["Doorbell-Poll-After"] = pollHeaders[after]
	s.send(x, q.answer())
	return nil
}

// admitPoll finds out which of the feeds the caller may read, before each look at them, and gives who that is if any are
// private. ended is why the token is none any more; nil: as far as is known it still is.
func (s *Server) admitPoll(x *exchange, q *pollQuery, ended error) *auth.Principal {
	var private []*polledFeed
	var names []feed.Name
	for i := range q.feeds {
		one := &q.feeds[i]
		if one.c == nil { // or it was denied
			one.body, one.moved, one.after = nil, false, maxPoll
		}
		one.c, one.read, one.policy = x.c, true, s.Policies.For(one.name)
		if !one.public() {
			private, names = append(private, one), append(names, one.name)
		}
	}
	if len(private) == 0 {
		return nil
	}
	x.header().Del("Access-Control-Allow-Origin")
	x.header().Del("Access-Control-Expose-Headers")
	s.allowReading(x, false)
	verdicts := make([]auth.Verdict, len(names))
	principal, err := (*auth.Principal)(nil), ended
	if err == nil {
		principal, err = s.principal(x)
	}
	if err == nil {
		verdicts = s.weigh(x, principal, auth.Read, names...)
	}
	for i, one := range private {
		denied := err
		if denied == nil {
			denied = refusal(verdicts[i], auth.Read, one.name)
		}
		if denied != nil {
			one.deny(s, denied)
		}
	}
	return principal
}

// deny answers for the feed, whatever comes of it.
func (one *polledFeed) deny(s *Server, err error) {
	one.moved = false
	one.fail(s, err)
	one.c = nil
}

// pollOnce looks at each feed, and tells whether one of them ends the wait.
func (s *Server) pollOnce(x *exchange, q *pollQuery) (moved bool) {
	heads := s.headsOf(x, q)
	enough := time.Now().Add(pollReading)
	bytes := 0
	for i := range q.feeds {
		one := &q.feeds[i]
		if one.c == nil {
			moved = moved || one.moved
			continue
		}
		one.body, one.moved = nil, false
		one.floor = window.Beyond(one.since)
		switch head, known := heads[i], heads[i] != unknownHead; {
		case known && head.IsZero() && one.since.IsZero():
			one.fail(s, feed.ErrNoFeed)
		case known && head == one.since:
		case bytes > maxResponseBytes || (moved && time.Now().After(enough)):
		default:
			if s.pollFeed(x, one, q.limit) {
				enough = time.Time{}
			}
		}
		one.after = pollSeconds(s.pollAfter(one.policy.PollAfter, one.feed))
		moved = moved || one.moved
		bytes += len(one.body)
	}
	return moved
}

// unknownHead is no feed's.
var unknownHead = feed.Cursor{Base: -1}

// headsOf are the feeds' heads as far as they are known without the store: here, or on the bus.
func (s *Server) headsOf(x *exchange, q *pollQuery) []feed.Cursor {
	heads := make([]feed.Cursor, len(q.feeds))
	var cold []int
	var names []feed.Name
	for i := range q.feeds {
		one := &q.feeds[i]
		heads[i] = unknownHead
		if one.c == nil {
			continue
		}
		one.feed = s.windows.Feed(one.name)
		if head, ok := one.feed.Head(); ok {
			heads[i] = head
			continue
		}
		cold, names = append(cold, i), append(names, one.name)
	}
	if len(cold) == 0 || !s.Bus.Alive() {
		return heads
	}
	told, err := s.Bus.Heads(x.ctx(), names, 0)
	if err != nil {
		return heads
	}
	for j, i := range cold {
		if head, ok := q.feeds[i].feed.Heard(told[j]); ok {
			heads[i] = head
		}
	}
	return heads
}

// pollFeed reads one feed that may have moved, and tells whether there is no use in reading others: the database is gone, and each
// would take a second to find that out.
func (s *Server) pollFeed(x *exchange, one *polledFeed, limit int) (gone bool) {
	p := params{since: one.since, limit: limit}
	r, err := one.feed.Read(x.ctx(), p.query(), window.Floor{})
	if err != nil {
		one.fail(s, err)
		return errors.Is(err, store.ErrUnavailable)
	}
	floor, quiet := beyond(r, nil)
	if one.floor = floor; quiet {
		return false
	}
	a, err := s.answer(&one.exchange, one.feed, r, p, changesRead)
	if err != nil {
		one.fail(s, err)
		return false
	}
	one.body, one.moved = a.bodies[identity].bytes, true
	return false
}

// fail puts the problem in the feed's place.
func (one *polledFeed) fail(s *Server, err error) {
	p := s.problem(&one.exchange, err)
	body, err := p.MarshalJSON()
	if err != nil { // of texts and numbers alone
		body = []byte(`{"status":500}`)
	}
	one.body = body
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	default:
		one.moved = true
	}
}

// pollFor is woken when one of the feeds moves.
func (s *Server) pollFor(q *pollQuery) *window.Poll {
	p := s.windows.NewPoll()
	for i := range q.feeds {
		if one := &q.feeds[i]; one.c != nil {
			p.On(one.feed, one.floor)
		}
	}
	return p
}

func (q *pollQuery) answer() []byte {
	size := 16
	for i := range q.feeds {
		if n := len(q.feeds[i].body); n > 0 {
			size += n + len(q.feeds[i].name) + 4
		}
	}
	b := append(make([]byte, 0, size), `{"feeds":{`...)
	first := true
	for i := range q.feeds {
		one := &q.feeds[i]
		if one.body == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, string(one.name)), ':')
		b = append(b, one.body...)
	}
	return append(b, '}', '}')
}

// parsePoll reads {"feeds":{"a":"0k3f9xa-1040","b":""},"wait":"20s","limit":500}.
func parsePoll(body []byte) (*pollQuery, error) {
	q := &pollQuery{limit: defaultLimit}
	p, err := newParser(body)
	if err != nil {
		return nil, err
	}
	err = p.object("", func(name string) error {
		switch name {
		case "feeds":
			return p.object("feeds", func(name string) error { return q.parseFeed(p, name) })
		case "wait":
			text, err := p.text("wait")
			if err != nil {
				return err
			}
			var ok bool
			if q.wait, ok = parseWait(text); !ok {
				return badWait("wait", text).With("where", "wait")
			}
			return nil
		case "limit":
			text, err := p.text("limit")
			if err != nil {
				return err
			}
			n, ok := feed.ParseSeq(text)
			if !ok || n < 1 || n > maxLimit {
				return problem.New(http.StatusBadRequest, "bad_limit",
					fmt.Sprintf("limit is %s; allowed: 1 to %d", quoted(text), maxLimit)).With("where", "limit")
			}
			q.limit = int(n)
			return nil
		}
		return unknownField("", name, "feeds", "wait", "limit")
	})
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	if len(q.feeds) == 0 {
		return nil, problem.New(http.StatusBadRequest, "no_feeds", fmt.Sprintf("no feed is named; allowed: 1 to %d", maxHeads))
	}
	return q, nil
}

func (q *pollQuery) parseFeed(p *parser, text string) error {
	at := "feeds." + shortened(text)
	name, err := feed.ParseName(text)
	if err != nil {
		return located("feeds", err)
	}
	if len(q.feeds) == maxHeads {
		return problem.New(http.StatusBadRequest, "too_many_feeds", fmt.Sprintf("too many feeds; allowed: 1 to %d", maxHeads)).
			With("limit", maxHeads)
	}
	since, err := p.string(at)
	if err != nil {
		return err
	}
	one := polledFeed{}
	one.name = name
	if one.since, err = feed.ParseOptionalCursor(since); err != nil {
		return located(at, err)
	}
	q.feeds = append(q.feeds, one)
	return nil
}

func pollSeconds(header []string) int {
	n, _ := feed.ParseSeq(header[0])
	return int(n)
}
