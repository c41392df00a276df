package window

import (
	"context"

	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

// traced is ctx, if it is somebody's trace; nil otherwise.
func traced(ctx context.Context) context.Context {
	if !tracing.On(ctx) {
		return nil
	}
	return ctx
}

// traceFill gives a fill a span in the trace of whoever wanted it first; others wait for it in theirs.
func traceFill(ctx, by context.Context) (filling context.Context, end func(error)) {
	if by == nil {
		return ctx, func(error) {}
	}
	filling, span := tracing.Start(tracing.Under(ctx, by), "fill")
	return filling, func(err error) { tracing.End(span, err) }
}
