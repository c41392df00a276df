package bus

import (
	"context"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// TraceBytes is how long a trace is: a traceparent of W3C Trace Context, version 00, such as
// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".
const TraceBytes = 55

// TraceFollower is what a Follower can be that wants to know which trace a signal belongs to, if it was published with one.
type TraceFollower interface {
	Follower
	// TracedSignal is called in the place of Signal where the publish that made this very head had a trace. A trace is a hint: it
	// may be lost, and come twice, as signals do; the head counts all the same.
	TracedSignal(name feed.Name, h Head, trace string)
}

type traceKey struct{}

// WithTrace gives a context that has a Publish carry the trace to those who follow the feed. What IsTrace refuses is left out.
func WithTrace(ctx context.Context, trace string) context.Context {
	if !IsTrace(trace) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, trace)
}

// TraceOf is the trace that a Publish with this context carries; "": none.
func TraceOf(ctx context.Context) string {
	trace, _ := ctx.Value(traceKey{}).(string)
	return trace
}

// IsTrace tells whether text is a trace, to the byte: from the bus comes what anybody has put there.
func IsTrace(text string) bool {
	if len(text) != TraceBytes || text[:3] != "00-" || text[35] != '-' || text[52] != '-' {
		return false
	}
	return isHex(text[3:35], false) && isHex(text[36:52], false) && isHex(text[53:], true)
}

// isHex tells whether text is lower-case hexadecimal, and more than zeros unless they are allowed.
func isHex(text string, zeros bool) bool {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zeros = zeros || c != '0'
	}
	return zeros
}
