package rest

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// traceRequest gives a request that is to be traced its span. It is there only where anything is traced, and looks at the
// others once. One that waits is looked at twice, and has one span for both.
func (s *Server) traceRequest(c *gin.Context) {
	h := heldBy(c)
	var ctx context.Context
	if h != nil && h.over {
		ctx = h.traced
	} else {
		ctx, _ = s.Traces(c.Request, c.FullPath())
	}
	if ctx == nil {
		return
	}
	if h != nil {
		h.traced = ctx
	}
	span := trace.SpanFromContext(ctx)
	c.Request = c.Request.WithContext(ctx)
	defer func() {
		if h != nil && h.poll != nil {
			return // it is left to wait
		}
		status := c.Writer.Status()
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		if cursor := c.Writer.Header()["Doorbell-Cursor"]; len(cursor) == 1 {
			span.SetAttributes(tracing.Cursor.String(cursor[0]))
		}
		if name, err := feed.ParseName(c.Param("feed")); err == nil { // what is none is the client's
			span.SetAttributes(tracing.Feed.String(string(name)))
		}
		if n, ok := span.(interface{ ChildSpanCount() int }); ok && n.ChildSpanCount() == 0 && fromMemory(c, status) {
			span.SetAttributes(tracing.From.String(sources[window.Memory]))
		}
		span.End()
	}()
	c.Next()
}

// traceCursor puts the cursor of an answer whose header isn't in the map into its span.
func traceCursor(ctx context.Context, cursor string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(tracing.Cursor.String(cursor))
	}
}

// fromMemory tells whether a request for which nothing was begun has been answered all the same: then it was found in memory.
func fromMemory(c *gin.Context, status int) bool {
	read := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
	return read && c.Param("feed") != "" && (status == http.StatusOK || status == http.StatusNotModified)
}

// sources are how [tracing.From] calls them.
var sources = [...]string{window.Memory: "memory", window.Coalesced: "coalesced", window.Database: "database"}

// tracedRead is f.Read.
func tracedRead(ctx context.Context, f *window.Feed, q store.Query, floor window.Floor) (window.Reading, error) {
	ctx, span := tracing.Start(ctx, "read")
	r, err := f.Read(ctx, q, floor)
	if span.IsRecording() {
		span.SetAttributes(tracing.From.String(sources[r.From]))
		tracing.End(span, err)
	}
	return r, err
}

// traceWait begins the span of its wait.
func (h *held) traceWait() trace.Span {
	ctx := h.traced
	if ctx == nil {
		ctx = context.Background()
	}
	_, span := tracing.Start(ctx, "wait for news")
	return span
}

// tracedStore is a Store whose calls have spans, which are the time in the database: waiting for a place is before them.
type tracedStore struct{ Store }

func (t tracedStore) Delta(ctx context.Context, name feed.Name, q store.Query) (feed.Delta, error) {
	ctx, span := tracing.Start(ctx, "database delta")
	d, err := t.Store.Delta(ctx, name, q)
	tracing.End(span, err)
	return d, err
}

func (t tracedStore) Item(ctx context.Context, name feed.Name, key string) (feed.Item, error) {
	ctx, span := tracing.Start(ctx, "database item")
	item, err := t.Store.Item(ctx, name, key)
	tracing.End(span, err)
	return item, err
}

func (t tracedStore) Append(ctx context.Context, name feed.Name, w store.Write) (store.Written, error) {
	ctx, span := tracing.Start(ctx, "database append")
	written, err := t.Store.Append(ctx, name, w)
	if span.IsRecording() {
		span.SetAttributes(tracing.Cursor.String(written.Cursor.String()))
	}
	tracing.End(span, err)
	return written, err
}

func (t tracedStore) Drop(ctx context.Context, name feed.Name, ifHead *feed.Cursor, once *store.Once) (feed.Cursor, error) {
	ctx, span := tracing.Start(ctx, "database drop")
	head, err := t.Store.Drop(ctx, name, ifHead, once)
	tracing.End(span, err)
	return head, err
}
