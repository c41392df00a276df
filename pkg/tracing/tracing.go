// Package tracing is how the services speak of traces: spans below the one that a context has, and traceparent, by which a trace
// goes from process to process. What isn't sampled costs a look at the context, and no memory.
//
//	request, sampled ─▶ span ─ctx─▶ Start "append" ─▶ Start "publish" ─ Text(ctx) ─▶ bus ─▶ gateway: Remote ─▶ Start "signal"
//
// Whether a request is traced, and where spans go, is package telemetry's. There is no global tracer: what isn't handed over isn't
// traced. Spans say what was done and how long it took: feeds and cursors, never keys, values, tokens or queries.
package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Header is the name of the header, and of the member of messages, that a trace travels in.
const Header = "traceparent"

// Attributes that several kinds of spans have.
const (
	Feed   = attribute.Key("doorbell.feed")
	Cursor = attribute.Key("doorbell.cursor")
	From   = attribute.Key("doorbell.from") // where the answer to a read came from: memory, coalesced, database
)

// Begin gives a request that is to be traced its span, and a context with it; the others get nil for both. route is the pattern that
// the request matches, "" for none. A Begin that is nil itself traces nothing. It may be called concurrently.
type Begin func(r *http.Request, route string) (context.Context, trace.Span)

// Start begins a span below the one that ctx has, if that is recorded; otherwise it gives ctx itself and a span that does
// nothing. The span has to be ended with [End].
func Start(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nothing
	}
	return parent.TracerProvider().Tracer(Scope).Start(ctx, name) //nolint:spancheck // the caller ends it
}

// On tells whether ctx has a span that is recorded.
func On(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

// Scope is the name of the instrumentation.
const Scope = "github.com/doorbell-sync/doorbell"

var nothing = trace.SpanFromContext(context.Background())

// End ends a span; err says whether it came to what was wanted. Its text isn't told: it may hold what clients have sent.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// Under is ctx with the span that of has, if that is recorded: for work that a request begins and others wait for, too.
func Under(ctx, of context.Context) context.Context {
	if span := trace.SpanFromContext(of); span.IsRecording() {
		return trace.ContextWithSpan(ctx, span)
	}
	return ctx
}

// Text is the traceparent of the span that ctx has; "" when that isn't sampled.
func Text(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carried := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carried)
	return carried[Header]
}

// Remote is ctx with the span that a traceparent names, in another process. What is no traceparent leaves ctx as it is. A tracestate
// is not taken over: it would be the collector's to keep, and anybody's to fill.
func Remote(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, one(traceparent))
}

// one is a carrier of a traceparent alone.
type one string

func (o one) Get(key string) string {
	if key == Header {
		return string(o)
	}
	return ""
}

func (one) Set(string, string) {}

func (one) Keys() []string { return []string{Header} }
