package doorbell

import (
	"context"
	"regexp"
)

// trace is what a signal was part of: the traceparent (W3C Trace Context) that the pull for its head goes with. The zero trace is
// none.
type trace struct {
	head cursor
	text string
}

var traceparent = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// parseTrace takes what may stand in a header, and nothing else.
func parseTrace(text string, head cursor) trace {
	if !traceparent.MatchString(text) {
		return trace{}
	}
	return trace{head, text}
}

type traceKey struct{}

// traced has the requests that bring a follower from have to the head belong to the head's trace, if it has one.
func (s *signals) traced(ctx context.Context, have cursor) context.Context {
	if s.trace.text == "" || s.trace.head != s.head || s.head.compare(have) <= 0 {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, s.trace.text)
}

// tracedAs is what requests with the context are part of; "": nothing.
func tracedAs(ctx context.Context) string {
	text, _ := ctx.Value(traceKey{}).(string)
	return text
}
