package gateway

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// Attributes of a signal's span.
const (
	followers = attribute.Key("doorbell.followers")
	overtaken = attribute.Key("doorbell.overtaken") // by a newer head, before all were told
)

// tracesOf makes what follows traced signals through this process; nil where nothing is traced.
func tracesOf(tracer trace.Tracer) func(feed.Name, bus.Head, string) hub.Trace {
	if tracer == nil {
		return nil
	}
	//nolint:spancheck // signal.End ends it
	return func(name feed.Name, head bus.Head, traceparent string) hub.Trace {
		ctx, span := tracer.Start(tracing.Remote(context.Background(), traceparent), "signal",
			trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(tracing.Feed.String(string(name)), tracing.Cursor.String(head.Cursor.String())))
		return &signal{span: span, text: tracing.Text(ctx)}
	}
}

// signal is the way of one signal from the bus to the last of its followers here.
type signal struct {
	span trace.Span
	text string
}

func (s *signal) Text() string { return s.text }

func (s *signal) End(told int, late bool) {
	s.span.SetAttributes(followers.Int(told))
	if late {
		s.span.SetAttributes(overtaken.Bool(true))
	}
	s.span.End()
}
