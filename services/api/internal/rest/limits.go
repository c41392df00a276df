package rest

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/api/internal/openapi"
	"github.com/doorbell-sync/doorbell/services/api/internal/ratelimit"
)

// Limits are how much one client may ask for; the zero Limits are none. A client is the subject of a valid token, or else an address
// (an IPv6 one stands for its /64), as far as trusted proxies tell. This machine's own addresses are counted, and not limited.
type Limits struct {
	// Reads are those of feeds and items, Polls those of many feeds at once, Heads those of heads alone. A read that is
	// answered with 304 counts as a tenth.
	Reads, Polls, Heads, Writes Limit
	// RedisURL is where the nodes of one Doorbell add up what they let through. "": each limits by itself.
	RedisURL string
}

// Limit is PerSecond requests in the long run, and Burst of them at once; a PerSecond of 0 is no limit.
type Limit struct {
	PerSecond float64
	Burst     int
}

// The classes, each with a budget of its own.
const (
	readClass ratelimit.Class = iota
	pollClass
	headClass
	writeClass
)

const (
	limitsPrefix = "doorbell:limit:"
	principalKey = "doorbell.principal" // of gin's context: who a token was found to be of
	// refund is what a 304 gets back of what a request costs.
	refund = ratelimit.Full * 9 / 10
)

// limits is what a server limits with.
type limits struct {
	*ratelimit.Limiter
	redis *ratelimit.Redis // nil: this node is alone
}

// newLimits gives nil when nothing is limited.
func newLimits(l Limits, log *slog.Logger) (*limits, error) {
	if l.Reads.PerSecond <= 0 && l.Polls.PerSecond <= 0 && l.Heads.PerSecond <= 0 && l.Writes.PerSecond <= 0 {
		return nil, nil //nolint:nilnil // nothing to do is fine
	}
	made := &limits{}
	if l.RedisURL != "" {
		var err error
		if made.redis, err = ratelimit.OpenRedis(l.RedisURL, limitsPrefix, log); err != nil {
			return nil, fmt.Errorf("limits: %w", err)
		}
	}
	class := func(name string, l Limit) ratelimit.Limit {
		return ratelimit.Limit{Name: name, PerSecond: l.PerSecond, Burst: l.Burst}
	}
	made.Limiter = ratelimit.New(ratelimit.Options{Shared: made.redis, Limits: []ratelimit.Limit{
		readClass: class("reads", l.Reads), pollClass: class("polls", l.Polls),
		headClass: class("heads", l.Heads), writeClass: class("writes", l.Writes),
	}})
	return made, nil
}

func (l *limits) close() error {
	if l == nil {
		return nil
	}
	l.Close()
	if l.redis == nil {
		return nil
	}
	return l.redis.Close()
}

// classOf is the budget that a route's requests are of.
func classOf(path, method string) ratelimit.Class {
	switch {
	case path == "/v1/heads":
		return headClass
	case path == pollPath:
		return pollClass
	case method == http.MethodGet:
		return readClass
	}
	return writeClass
}

// limited has h do what the client has budget for. A route that has no limit costs nothing.
func (s *Server) limited(path, method string, h gin.HandlerFunc) gin.HandlerFunc {
	if s.limits == nil || path == openapi.PagePath || path == "/v1/openapi.yaml" {
		return h
	}
	class := classOf(path, method)
	if s.limits.Limits[class].PerSecond <= 0 {
		return h
	}
	budget := s.limits.Limits[class].Name
	allowed, refused := s.metrics.limited.WithLabelValues(budget, "allowed"), s.metrics.limited.WithLabelValues(budget, "refused")
	return func(c *gin.Context) {
		id, local := s.client(c)
		if h := heldBy(c); h == nil || !h.over { // what has waited was let in before
			if v := s.limits.Take(class, id); v.Refused && !local {
				refused.Inc()
				s.refuse(c, class, v.After)
				return
			}
			allowed.Inc()
		}
		h(c)
		if c.Writer.Status() == http.StatusNotModified {
			s.limits.Refund(class, id, refund)
		}
	}
}

// client tells whose budget the request is of, and whether that is someone on this machine.
func (s *Server) client(c *gin.Context) (id uint64, local bool) {
	addr, known := s.clientAddr(c)
	local = known && (!addr.IsValid() || addr.IsLoopback())
	if len(c.Request.Header["Authorization"]) > 0 {
		// What is wrong with a token, the handler says, where one is needed.
		if p, err := s.principal(&exchange{c: c}); err == nil {
			c.Set(principalKey, p)
			return xxhash.Sum64String("subject " + p.Subject), local
		}
	}
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			addr = prefix.Addr()
		}
	}
	b := addr.As16()
	return xxhash.Sum64(b[:]), local
}

// clientAddr is the client's address; not valid where there is none, as on a Unix socket. Where a trusted proxy tells of a client
// in a way that isn't read here it is the proxy's, and the client isn't known.
func (s *Server) clientAddr(c *gin.Context) (addr netip.Addr, known bool) {
	known = true
	if len(s.proxies) > 0 && s.proxies.Sent(c.Request) {
		if known = s.proxies.Readable(c.Request); known {
			addr, err := netip.ParseAddr(c.ClientIP())
			return addr.Unmap().WithZone(""), err == nil
		}
	}
	peer, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	if err != nil {
		return netip.Addr{}, known
	}
	return peer.Addr().Unmap().WithZone(""), known
}

// refuse answers 429, with the fields of draft-ietf-httpapi-ratelimit-headers. Only here: on an answer that caches hold they would
// be some other client's.
func (s *Server) refuse(c *gin.Context, class ratelimit.Class, after time.Duration) {
	limit := s.limits.Limits[class]
	x := &exchange{c: c, write: class == writeClass}
	if x.write {
		_ = s.allowWriting(x) // a page that may not write learns no more from this
	} else {
		s.allowReading(x, true)
	}
	if h := x.header(); h.Get("Access-Control-Expose-Headers") != "" {
		h.Set("Access-Control-Expose-Headers", exposedHeaders+", RateLimit, RateLimit-Policy")
	}
	seconds := max(int(math.Ceil(after.Seconds())), 1)
	p := problem.New(http.StatusTooManyRequests, "too_many_requests", fmt.Sprintf(
		"too many %s from this client; allowed: %g a second, %d at once; the next in %d s",
		limit.Name, limit.PerSecond, limit.Burst, seconds))
	p.RetryAfter = seconds
	window := max(int(math.Ceil(float64(limit.Burst)/limit.PerSecond)), 1)
	p.Header = http.Header{
		"RateLimit-Policy": {strconv.Quote(limit.Name) + ";q=" + strconv.Itoa(limit.Burst) + ";w=" + strconv.Itoa(window)},
		"RateLimit":        {strconv.Quote(limit.Name) + ";r=0;t=" + strconv.Itoa(seconds)},
	}
	s.fail(x, p)
}

// known is the principal that was found for the limits, if one was.
func (x *exchange) known() *auth.Principal {
	v, ok := x.c.Get(principalKey)
	if !ok {
		return nil
	}
	p, _ := v.(*auth.Principal)
	return p
}

func (l Limits) validate() error {
	var errs []error
	for name, one := range map[string]Limit{"reads": l.Reads, "polls": l.Polls, "heads": l.Heads, "writes": l.Writes} {
		if one.PerSecond < 0 || one.Burst < 0 || (one.PerSecond > 0 && one.Burst < 1) {
			errs = append(errs, fmt.Errorf("limits of %s: %+v; allowed: a burst of 1 or more where there is a rate", name, one))
		}
	}
	return errors.Join(errs...)
}
