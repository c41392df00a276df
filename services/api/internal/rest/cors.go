package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

const (
	exposedHeaders = "Doorbell-Cursor, Doorbell-Poll-After, Doorbell-Pull, ETag, Retry-After"
	allowedHeaders = "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key"
	// preflightMaxAge is in seconds; two hours is the most that browsers keep.
	preflightMaxAge = "7200"
)

// allowReading says who may read the answer. That of a public feed never depends on who asks: caches hold one for all.
func (s *Server) allowReading(x *exchange, public bool) {
	h := x.header()
	if public {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
		h.Set("Vary", "Accept-Encoding")
		return
	}
	h.Set("Vary", "Authorization, Origin, Accept-Encoding")
	s.allowOrigin(x)
}

// allowWriting refuses what a page of a foreign origin sends, whatever else it carries.
func (s *Server) allowWriting(x *exchange) error {
	x.header().Set("Vary", "Origin")
	if !s.originAllowed(x) {
		return errForbiddenOrigin
	}
	s.allowOrigin(x)
	return nil
}

// allowOrigin lets the page read the answer, if its origin may.
func (s *Server) allowOrigin(x *exchange) {
	origin := x.c.Request.Header.Get("Origin")
	if origin == "" || !s.originAllowed(x) {
		return
	}
	x.header().Set("Access-Control-Allow-Origin", origin)
	x.header().Set("Access-Control-Expose-Headers", exposedHeaders)
}

var errForbiddenOrigin = problem.New(http.StatusForbidden, codeForbiddenOrigin,
	"pages of this origin may not do that; allowed: the server's own origin and those that are configured")

// preflight answers OPTIONS. For heads, which may be of any feeds, everybody may ask; the answer itself then says
// whether the page may read it.
func (s *Server) preflight(allowed []string) gin.HandlerFunc {
	allow := strings.Join(allowed, ", ")
	return func(c *gin.Context) {
		x := &exchange{c: c}
		s.finish(x, func() error {
			h := x.header()
			h.Set("Vary", "Origin, Access-Control-Request-Method")
			method := c.Request.Header.Get("Access-Control-Request-Method")
			if method != "" && c.Request.Header.Get("Origin") != "" {
				if !slices.Contains(allowed, method) {
					return methodNotAllowed(method, allowed)
				}
				methods := allow
				switch {
				case s.readsPublic(c, method):
					h.Set("Access-Control-Allow-Origin", "*")
					if c.Param("feed") != "" {
						methods = "GET, HEAD"
					}
				case s.originAllowed(x):
					h.Set("Access-Control-Allow-Origin", c.Request.Header.Get("Origin"))
				default:
					return errForbiddenOrigin
				}
				h.Set("Access-Control-Allow-Methods", methods)
				h.Set("Access-Control-Allow-Headers", allowedHeaders)
				h.Set("Access-Control-Max-Age", preflightMaxAge)
			}
			h.Set("Allow", allow)
			h.Set("Cache-Control", noStore)
			h.Set("CDN-Cache-Control", noStore)
			c.Status(http.StatusNoContent)
			c.Writer.WriteHeaderNow()
			return nil
		})
	}
}

func (s *Server) readsPublic(c *gin.Context, method string) bool {
	if c.Param("feed") == "" {
		return true // heads
	}
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	text, err := url.PathUnescape(c.Param("feed"))
	if err != nil {
		return false
	}
	name, err := feed.ParseName(text)
	return err == nil && s.Policies.For(name).Public
}
