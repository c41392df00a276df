package rest

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/httphost/lines"
)

// answer is an answer to a read: its bytes, and the values of all headers that are the same for everybody who gets it. It
// is built once and shared, so neither may be changed.
type answer struct {
	public bool
	shared bool     // it is kept, and most probably sent again
	etag   []string // nil: it has none
	cursor []string
	tag    []string // Cache-Tag and Surrogate-Key
	cache  []string // Cache-Control
	cdn    []string // CDN-Cache-Control
	pull   []string // Doorbell-Pull; nil: none
	// fields are all of that as lines, of an answer that is public and shared; written out when they are needed first.
	fields   lines.Lines
	fielding sync.Once
	// bodies by encoding; identity's is there from the beginning. No body at all: it is good for 304s alone.
	bodies   [encodings]body
	encoding [encodings]sync.Once
}

type body struct {
	bytes  []byte
	length []string // Content-Length
}

// newAnswer makes an answer to x. tag is "" where there is none, text nil where it is for 304s alone.
func (x *exchange) newAnswer(tag string, cursor feed.Cursor, text []byte) *answer {
	a := &answer{public: x.public(), cursor: []string{cursor.String()}, tag: []string{"feed-" + string(x.name)}}
	if tag != "" {
		a.etag = []string{tag}
	}
	cc, cdn := cacheHeaders(outcome{
		read: true, public: a.public, canonical: x.canonical, pinned: x.pinned, status: http.StatusOK,
	}, x.policy.Cache)
	a.cache, a.cdn = []string{cc}, []string{cdn}
	if text != nil {
		a.bodies[identity] = newBody(text)
	}
	return a
}

// share makes the answer one that is kept. It comes before it is.
func (a *answer) share() *answer {
	a.shared = true
	return a
}

func newBody(b []byte) body { return body{bytes: b, length: []string{strconv.Itoa(len(b))}} }

// Weight counts bodies that are not built yet, too: about half of what is worth compressing, each.
func (a *answer) Weight() int {
	const headers = 2 << 10
	n := len(a.bodies[identity].bytes)
	if n >= worthCompressing {
		n *= 2
	}
	return n + headers
}

// body is the one in the best encoding that is accepted.
func (a *answer) body(accept []string) (body, encoding) {
	plain := a.bodies[identity]
	if len(accept) == 0 || len(plain.bytes) < worthCompressing {
		return plain, identity
	}
	e := accepted(accept)
	if e == identity {
		return plain, identity
	}
	a.encoding[e].Do(func() {
		if b := compress(e, plain.bytes); b != nil {
			a.bodies[e] = newBody(b)
		}
	})
	if a.bodies[e].bytes == nil {
		return plain, identity
	}
	return a.bodies[e], e
}

// Header values that are the same in all answers. The names are in the form that net/http keeps them in.
var (
	anyOrigin   = []string{"*"}
	exposed     = []string{exposedHeaders}
	varyPublic  = []string{"Accept-Encoding"}
	contentJSON = []string{"application/json"}
	noSniff     = []string{"nosniff"}
)

// send answers with 200, or with 304 when the client has just that. What depends on the client (origins, Vary of a private feed)
// has been set before.
func (a *answer) send(s *Server, c *gin.Context, pollAfter []string) {
	h := c.Writer.Header()
	h["Doorbell-Poll-After"] = pollAfter
	matched := a.matched(c.Request)
	var b body
	if !matched {
		var e encoding
		if b, e = a.body(c.Request.Header["Accept-Encoding"]); e != identity {
			h["Content-Encoding"] = encodingNames[e]
		}
		h["Content-Type"] = contentJSON
		h["Content-Length"] = b.length
	}
	// Lines are promised last: nothing may come between that and the answer that they go with.
	if !a.public || !a.shared || !lines.Send(c.Request, a.lines()) {
		a.setFields(h)
	} else if s.Traces != nil {
		traceCursor(c.Request.Context(), a.cursor[0])
	}
	if matched {
		c.Writer.WriteHeader(http.StatusNotModified)
		c.Writer.WriteHeaderNow()
		return
	}
	s.writeBody(c, b.bytes)
}

// setFields sets what is the same for everybody.
func (a *answer) setFields(h http.Header) {
	if a.public {
		h["Access-Control-Allow-Origin"] = anyOrigin
		h["Access-Control-Expose-Headers"] = exposed
		h["Vary"] = varyPublic
	}
	if a.etag != nil {
		h["Etag"] = a.etag
	}
	h["Doorbell-Cursor"] = a.cursor
	if a.pull != nil {
		h["Doorbell-Pull"] = a.pull
	}
	h["Cache-Tag"] = a.tag
	h["Surrogate-Key"] = a.tag
	h["Cache-Control"] = a.cache
	h["Cdn-Cache-Control"] = a.cdn
	h["X-Content-Type-Options"] = noSniff // values are other people's
}

// lines is what setFields sets, written out.
func (a *answer) lines() lines.Lines {
	a.fielding.Do(func() {
		h := http.Header{}
		a.setFields(h)
		a.fields = lines.Of(h)
	})
	return a.fields
}

// matched tells whether the client has this answer.
func (a *answer) matched(r *http.Request) bool {
	lists := r.Header["If-None-Match"]
	return len(lists) > 0 && a.etag != nil && matches(lists, a.etag[0])
}
