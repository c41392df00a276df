package rest

import (
	"errors"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// kind is a kind of read.
type kind uint8

const (
	snapshotRead kind = iota
	changesRead
	itemRead
)

// smallFeed is how many bytes a snapshot may have for clients to be told to pull that rather than a delta: about what one
// packet and its headers cost anyway, so that one URL for everybody is worth more than fewer bytes.
const smallFeed = 4 << 10

// readFeed makes the handler of snapshots, or of changes.
func (s *Server) readFeed(k kind) gin.HandlerFunc {
	cold := s.read(func(x *exchange) error { return s.readCold(x, k) })
	if k != changesRead {
		return func(c *gin.Context) {
			if !s.readHot(c, k) {
				cold(c)
			}
		}
	}
	return func(c *gin.Context) {
		if h := heldBy(c); h != nil {
			s.read(func(x *exchange) error { return s.readHeld(x, h) })(c)
			return
		}
		if !s.readHot(c, k) {
			cold(c)
		}
	}
}

// readHot answers what everybody may read from memory, if the very query has been answered at this head before. Nothing is
// checked again: an answer is kept only once everything was found right, and a feed is in memory by its valid name only.
func (s *Server) readHot(c *gin.Context, k kind) bool {
	f := s.windows.Hot(c.Param("feed"))
	if f == nil {
		return false
	}
	v := f.Current()
	if v == nil {
		return false
	}
	a, _ := v.Answer(window.Key{Kind: uint8(k), Query: c.Request.URL.RawQuery}).(*answer)
	if a == nil || !a.public || (a.bodies[identity].bytes == nil && !a.matched(c.Request)) {
		return false
	}
	s.metrics.reads[window.Memory].Inc()
	a.send(s, c, s.pollAfter(s.Policies.For(f.Name()).PollAfter, f))
	return true
}

// readCold answers everything else.
func (s *Server) readCold(x *exchange, k kind) error {
	p, err := parseParams(x.c.Request.URL.RawQuery, k == changesRead)
	if err != nil {
		return err
	}
	x.setParams(p)
	f := s.windows.Feed(x.name)
	if !p.polled && s.unchanged(x, f, p, k) {
		return nil
	}
	// A token that ends while this waits for at_least, 2 s at most, doesn't end that: as for an answer that is under way.
	r, err := tracedRead(x.ctx(), f, p.query(), p.atLeast)
	return s.tell(x, f, p, k, r, err)
}

// tell answers with what came of a read.
func (s *Server) tell(x *exchange, f *window.Feed, p params, k kind, r window.Reading, err error) error {
	away := p.polled && s.sendAway(x)
	if err != nil {
		if reset, ok := errors.AsType[*feed.ResetError](err); ok {
			s.announce.Found(x.name, reset.Head)
		}
		return err
	}
	s.metrics.reads[r.From].Inc()
	a, err := s.answer(x, f, r, p, k)
	if err != nil {
		return err
	}
	after := s.pollAfter(x.policy.PollAfter, f)
	if away {
		after = pollHeaders[0]
	}
	a.send(s, x.c, after)
	return nil
}

// answer renders what was read, or finds it rendered.
func (s *Server) answer(x *exchange, f *window.Feed, r window.Reading, p params, k kind) (*answer, error) {
	build := func() *answer {
		d := r.Delta
		tag := ""
		if !d.More { // another limit or time would end it elsewhere
			tag, _ = tagFor(p, k, d.Head)
		}
		a := x.newAnswer(tag, d.Cursor, appendDelta(make([]byte, 0, deltaSize(d)), d, k == snapshotRead))
		if r.View != nil && a.public {
			if n, whole := r.View.Snapshot(); whole && n <= smallFeed {
				a.pull = []string{"snapshot"}
			}
		}
		return a
	}
	if r.View == nil {
		return build(), nil
	}
	// The same for all spellings of one query, but for those that caches treat differently.
	key := window.Key{Kind: uint8(k), Query: p.key(r.Delta.Since)}
	var also []window.Key
	if p.canonical {
		also = append(also, window.Key{Kind: uint8(k), Query: x.c.Request.URL.RawQuery})
	}
	a, err := f.Make(r.View, key, func() (window.Answer, error) { return build().share(), nil }, also...)
	if err != nil {
		return nil, err
	}
	return a.(*answer), nil //nolint:forcetypeassert // build makes no other
}

// unchanged answers 304 without the store, when the client names the answer that it would get at the head that is known.
func (s *Server) unchanged(x *exchange, f *window.Feed, p params, k kind) bool {
	lists := x.c.Request.Header["If-None-Match"]
	if len(lists) == 0 {
		return false
	}
	head, ok := s.knownHead(x, f)
	if !ok || !p.atLeast.Met(head) {
		return false
	}
	tag, ok := tagFor(p, k, head)
	if !ok || !matches(lists, tag) {
		return false
	}
	a := x.newAnswer(tag, head, nil)
	if v := f.Current(); v != nil && v.Head == head && p.canonical {
		if kept, err := f.Make(v, window.Key{Kind: uint8(k), Query: x.c.Request.URL.RawQuery},
			func() (window.Answer, error) { return a.share(), nil }); err == nil {
			a = kept.(*answer) //nolint:forcetypeassert // nothing else is kept
		}
	}
	a.send(s, x.c, s.pollAfter(x.policy.PollAfter, f))
	return true
}

// knownHead is the feed's head, if it is known without asking the store; for a feed that isn't followed yet, the bus is
// asked.
func (s *Server) knownHead(x *exchange, f *window.Feed) (feed.Cursor, bool) {
	if head, ok := f.Head(); ok {
		return head, !head.IsZero()
	}
	if !s.Bus.Alive() {
		return feed.Cursor{}, false
	}
	heads, err := s.Bus.Heads(x.ctx(), []feed.Name{x.name}, 0)
	if err != nil {
		return feed.Cursor{}, false
	}
	head, ok := f.Heard(heads[0])
	return head, ok && !head.IsZero()
}

// key is the text by which an answer to p is kept; since is p's in full.
func (p params) key(since feed.Cursor) string {
	b := make([]byte, 0, 64)
	b = since.Append(append(b, '='))
	b = strconv.AppendInt(append(b, ' '), int64(p.limit), 10)
	switch {
	case p.pinned:
		b = append(b, " pinned"...)
	case p.canonical:
		b = append(b, " canonical"...)
	}
	return string(b)
}

const (
	// longestPoll is what polling clients are told to wait at most, unless a policy asks for more.
	longestPoll = 60 * time.Second
	maxPoll     = 3600 // seconds, that headers are made for
)

var pollHeaders = func() (all [maxPoll + 1][]string) {
	for i := range all {
		all[i] = []string{strconv.Itoa(i)}
	}
	return all
}()

// pollAfter is the value of Doorbell-Poll-After: half the time between two changes, or half of how long the feed has been
// quiet if that is longer; at least the policy's, at most a minute; and up to four times that while calls queue for the
// database.
func (s *Server) pollAfter(least time.Duration, f *window.Feed) []string {
	between, quiet := f.Pace(time.Now())
	wait := min(max(between, quiet)/2, longestPoll)
	wait = max(wait, least)
	if load := s.gate.Load(); load > 0 {
		wait += time.Duration(3 * load * float64(wait))
	}
	return pollHeaders[min(int((wait+time.Second-1)/time.Second), maxPoll)]
}
