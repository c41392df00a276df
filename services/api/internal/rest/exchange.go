package rest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
)

// exchange is one request and what is known of it so far. It belongs to the request's goroutine.
type exchange struct {
	c      *gin.Context
	name   feed.Name // "" until it is known, or where there is none
	policy policy.Namespace
	read   bool // it reads one feed
	write  bool

	// of a write
	subject string // whose token it came with; "" for none
	sent    []byte // its body

	// of a read's query
	canonical bool
	pinned    bool
	who       *auth.Principal // who may read the feed; nil: everybody
}

func (x *exchange) ctx() context.Context { return x.c.Request.Context() }

func (x *exchange) header() http.Header { return x.c.Writer.Header() }

func (x *exchange) public() bool { return x.policy.Public }

// setParams takes over what the query says about caching.
func (x *exchange) setParams(p params) { x.canonical, x.pinned = p.canonical, p.pinned }

// read makes a handler of reads of one feed.
func (s *Server) read(h func(*exchange) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		x := &exchange{c: c, read: true}
		s.finish(x, func() error {
			if err := s.findFeed(x); err != nil {
				return err
			}
			if !x.public() {
				s.allowReading(x, false)
				var err error
				if x.who, err = s.mayDo(x, auth.Read); err != nil {
					return err
				}
			}
			return h(x)
		})
	}
}

// write makes a handler of writes to one feed.
func (s *Server) write(action auth.Action, h func(*exchange) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		x := &exchange{c: c, write: true}
		s.finish(x, func() error {
			if err := s.allowWriting(x); err != nil {
				return err
			}
			if err := s.findFeed(x); err != nil {
				return err
			}
			if !s.open(x) {
				if _, err := s.mayDo(x, action); err != nil {
					return err
				}
			}
			return h(x)
		})
	}
}

// plain makes a handler of what isn't about one feed.
func (s *Server) plain(h func(*exchange) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		x := &exchange{c: c}
		s.finish(x, func() error { return h(x) })
	}
}

func (s *Server) finish(x *exchange, h func() error) {
	if err := h(); err != nil {
		s.fail(x, err)
	}
}

func (s *Server) findFeed(x *exchange) error {
	text, err := url.PathUnescape(x.c.Param("feed"))
	if err != nil {
		return errNoRoute
	}
	name, err := feed.ParseName(text)
	if err != nil {
		return err
	}
	x.name, x.policy = name, s.Policies.For(name)
	return nil
}

func itemKey(x *exchange) (string, error) {
	key, err := url.PathUnescape(x.c.Param("key"))
	if err != nil {
		return "", errNoRoute
	}
	return key, feed.CheckKey(key)
}

// setReadHeaders sets what reads carry that come to nothing. Those of the others are their answer's, which is sent at once: a
// request that waits costs no headers until then.
func (x *exchange) setReadHeaders() {
	h := x.header()
	h.Set("Doorbell-Poll-After", strconv.FormatInt(int64(x.policy.PollAfter.Seconds()), 10))
	tag := "feed-" + string(x.name)
	h.Set("Cache-Tag", tag)
	h.Set("Surrogate-Key", tag)
}

// send answers what no cache may hold. It is compressed for the one who asked, but for answers to writes, which are small.
func (s *Server) send(x *exchange, body []byte) {
	setCacheHeaders(x.header(), outcome{status: http.StatusOK}, x.policy.Cache)
	h := x.header()
	h["Content-Type"] = contentJSON
	h["X-Content-Type-Options"] = noSniff // values are other people's
	if accept := x.c.Request.Header["Accept-Encoding"]; !x.write && len(accept) > 0 && len(body) >= worthCompressing {
		if e := accepted(accept); e != identity {
			if small := compress(e, body); small != nil {
				body, h["Content-Encoding"] = small, encodingNames[e]
			}
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	s.writeBody(x.c, body)
}

// bodyChunk is how much of a body, in bytes, a client has to take in each StallTimeout.
const bodyChunk = 64 << 10

// writeBody sends a body, to which the headers have been set, to a client that may be slow, but not stuck: who takes nothing
// must not hold megabytes for ever. A body of one chunk is under the host's own time limit.
func (s *Server) writeBody(c *gin.Context, body []byte) {
	c.Status(http.StatusOK)
	if c.Request.Method == http.MethodHead {
		c.Writer.WriteHeaderNow()
		return
	}
	if len(body) <= bodyChunk {
		_, _ = c.Writer.Write(body) // the client may be gone
		return
	}
	control := http.NewResponseController(c.Writer)
	for len(body) > 0 {
		chunk := body[:min(bodyChunk, len(body))]
		body = body[len(chunk):]
		if err := control.SetWriteDeadline(time.Now().Add(s.StallTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		if _, err := c.Writer.Write(chunk); err != nil {
			return // the client is gone
		}
	}
}
