package telemetry

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

const (
	// queuedSpans is how many wait for the collector; what comes beyond that is dropped.
	queuedSpans = 4096
	batchWait   = 2 * time.Second
	// exportWithin bounds one batch's way to the collector, tries included, flushWithin all of them when the process stops.
	exportWithin = 5 * time.Second
	flushWithin  = 2 * time.Second
	// maxAttribute is the longest text in a span, in bytes.
	maxAttribute = 256
)

// Traces are one process's: which requests are traced, and where their spans go. nil are none. It is safe for concurrent use.
//
//	request ─▶ Begin: sampled? ─▶ span ─▶ queue ─▶ collector     (OTLP over HTTP)
//	                                        └─ full: dropped
type Traces struct {
	// static
	provider      *sdktrace.TracerProvider
	sample        float64
	reads, writes *rate.Limiter // of requests that ask for being traced
}

// OpenTraces makes those that the configuration, which must be valid, says; nil when it says none. The collector need not be there:
// nobody waits for it, and that it isn't is logged once in a while. service is what the process is called there.
func OpenTraces(c config.Traces, service string, log *slog.Logger) (*Traces, error) {
	if c.Endpoint == "" {
		return nil, nil //nolint:nilnil // a nil *Traces is what traces nothing
	}
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	if strings.Trim(endpoint.Path, "/") == "" {
		endpoint.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(context.Background(),
		otlptracehttp.WithEndpointURL(endpoint.String()), otlptracehttp.WithHeaders(c.Headers), otlptracehttp.WithTimeout(exportWithin),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: time.Second, MaxInterval: 2 * time.Second, MaxElapsedTime: exportWithin,
		}))
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	complain(log)
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxAttribute
	t := &Traces{
		sample: c.Sample,
		reads:  rate.NewLimiter(rate.Limit(c.AcceptPerSecond), c.AcceptPerSecond),
		writes: rate.NewLimiter(rate.Limit(c.AcceptPerSecond), c.AcceptPerSecond),
		provider: sdktrace.NewTracerProvider(
			// Whether a request is traced is decided before it has a span.
			sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
			sdktrace.WithRawSpanLimits(limits),
			sdktrace.WithResource(resource.NewSchemaless(
				semconv.ServiceName(service), semconv.ServiceVersion(version()), semconv.ServiceInstanceID(rand.Text()),
			)),
			sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(queuedSpans), sdktrace.WithBatchTimeout(batchWait),
				sdktrace.WithExportTimeout(exportWithin)),
		),
	}
	return t, nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// Tracer begins spans; nil where nothing is traced.
func (t *Traces) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(tracing.Scope)
}

// Requests begins the spans of requests; nil where nothing is traced.
func (t *Traces) Requests() tracing.Begin {
	if t == nil {
		return nil
	}
	return t.begin
}

// Close sends what is still queued, for up to 2 s. Spans that end later are lost.
func (t *Traces) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what was lost is nothing that a stop should fail for
	return nil
}

// begin follows the caller's word, as far as that is accepted: not sampled is not traced. A caller that says nothing, or too often that
// it is sampled, has its requests traced by chance.
func (t *Traces) begin(r *http.Request, route string) (context.Context, trace.Span) {
	ctx := r.Context()
	if said := r.Header["Traceparent"]; len(said) == 1 {
		remote := tracing.Remote(ctx, said[0])
		if parent := trace.SpanContextFromContext(remote); parent.IsValid() {
			if !parent.IsSampled() {
				return nil, nil
			}
			if t.accepts(r.Method) {
				return t.start(remote, r.Method, route)
			}
		}
	}
	if t.sample > 0 && mathrand.Float64() < t.sample {
		return t.start(ctx, r.Method, route)
	}
	return nil, nil
}

// accepts: anybody can ask for being traced, so it must not cost more than it may. Writers have a budget of their own, so that those who
// read, which may be everybody, can't use it up.
func (t *Traces) accepts(method string) bool {
	if method == http.MethodGet || method == http.MethodHead {
		return t.reads.Allow()
	}
	return t.writes.Allow()
}

func (t *Traces) start(ctx context.Context, method, route string) (context.Context, trace.Span) {
	name := known(method)
	attributes := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(semconv.HTTPRequestMethodKey.String(name)),
	}
	if route != "" {
		name += " " + route
		attributes = append(attributes, trace.WithAttributes(semconv.HTTPRoute(route)))
	}
	return t.Tracer().Start(ctx, name, attributes...) //nolint:spancheck // the caller ends it
}

// known is the method, if it is one that the conventions know: anybody can send any word.
func known(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "_OTHER"
}
