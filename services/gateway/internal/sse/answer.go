package sse

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// ContentType is the media type of events.
const ContentType = "text/event-stream"

// said is how far the answer has come.
type said uint8

const (
	nothing  said = iota
	head          // its status, and events
	farewell      // the last of it
	all
)

// comment is a line that clients ignore.
const comment = ":\n\n"

// minRetry and maxRetry bound how long a browser is told to wait before it connects again. It uses the same time again and again,
// so everybody gets one of their own.
const minRetry, maxRetry = time.Second, 5 * time.Second

// answered is a link's way to say the head of an answer: it appends to b what comes before the body, or says it otherwise.
type answered func(b []byte, status int, header http.Header) []byte

// next appends what is to be written next, or nothing when there is none right now.
func (c *Conn) next(b []byte, answer answered) []byte {
	c.mu.Lock()
	reason, quiet, opened := c.reason, c.quiet, c.opened
	wanted := c.said == head && reason == nil && c.commentLocked()
	c.mu.Unlock()
	switch {
	case c.said == all:
		return b
	case c.said == farewell:
		c.said = all
		c.through(writing)
		return b
	case reason != nil && !quiet: // a signal could still come after the farewell
		return b
	case reason != nil:
		return c.farewell(b, reason, answer)
	case c.said == nothing && !opened:
		return b
	case c.said == nothing:
		c.said = head
		return c.begun(b, answer)
	case wanted:
		return append(b, comment...)
	}
	c.guarded(func() { b = c.dialogue.Next(b) })
	return b
}

// begun says that events come.
func (c *Conn) begun(b []byte, answer answered) []byte {
	h := c.header
	c.header = nil
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("CDN-Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx hands on each event at once, however it is set up
	b = answer(b, http.StatusOK, h)
	retry := minRetry + time.Duration(rand.Float64()*float64(maxRetry-minRetry))
	return fmt.Appendf(b, "retry: %d\n\n", retry.Milliseconds())
}

// farewell tells the peer why there is no more, unless it is past telling.
func (c *Conn) farewell(b []byte, e *ending, answer answered) []byte {
	before := c.said
	c.said = farewell
	switch {
	case !e.tell:
		c.said = all
		c.through(writing)
		return b
	case before == head:
		return appendClose(b, e.Close)
	}
	r := recorder{header: c.header}
	c.header = nil
	problem.Write(&r, refusal(e.Close))
	return append(answer(b, r.status, r.header), r.body.Bytes()...)
}

// recorder keeps a problem.
type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// refusal is a close code as a status.
func refusal(e wire.Close) *problem.Problem {
	switch e.Code {
	case wire.CloseToken:
		p := problem.New(http.StatusUnauthorized, "unauthorized", e.Reason)
		p.Header = http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}
		return p
	case wire.CloseForbidden:
		return problem.New(http.StatusForbidden, "forbidden", e.Reason)
	case wire.CloseTooMany:
		p := problem.New(http.StatusTooManyRequests, "too_many", "too many connections; allowed: to come back after Retry-After")
		p.RetryAfter = seconds(e.Reason)
		return p
	case wire.CloseInternal:
		return problem.New(http.StatusInternalServerError, "internal", e.Reason)
	}
	p := problem.New(http.StatusServiceUnavailable, "draining", e.Reason)
	p.RetryAfter = 1
	return p
}

// seconds reads the delay in a reason, such as "5000 ms"; at least 1.
func seconds(reason string) int {
	ms, err := strconv.Atoi(strings.TrimSuffix(reason, " ms"))
	if err != nil {
		return 1
	}
	return max(1, (ms+999)/1000)
}
