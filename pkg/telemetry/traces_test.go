package telemetry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

const (
	traceID    = "4bf92f3577b34da6a3ce929d0e0e4736"
	sampled    = "00-" + traceID + "-00f067aa0ba902b7-01"
	notSampled = "00-" + traceID + "-00f067aa0ba902b7-00"
)

// collector is one that keeps what comes.
type collector struct {
	URL string

	mu       sync.Mutex
	spans    []*tracepb.Span
	resource string
	header   http.Header
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	body, err := gzip.NewReader(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	all, _ := io.ReadAll(body)
	var request coltracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(all, &request); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, rs := range request.GetResourceSpans() {
		c.resource = rs.GetResource().String()
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
}

func open(t *testing.T, c config.Traces, log io.Writer) *Traces {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	traces, err := OpenTraces(c, "doorbell-test", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return traces
}

func request(method, traceparent string) *http.Request {
	r := httptest.NewRequest(method, "/v1/feeds/secret:1", nil)
	if traceparent != "" {
		r.Header.Set(tracing.Header, traceparent)
	}
	return r
}

// begun tells how many of n such requests are traced.
func begun(t *Traces, n int, r *http.Request) (count int) {
	for range n {
		if _, span := t.begin(r, "/v1/feeds/:feed"); span != nil {
			span.End()
			count++
		}
	}
	return count
}

func TestOffIsNothing(t *testing.T) {
	traces := open(t, config.Traces{Sample: 1, AcceptPerSecond: 100}, nil)
	if traces != nil || traces.Requests() != nil || traces.Tracer() != nil || traces.Close() != nil {
		t.Error("without an endpoint there is something")
	}
}

func TestWhoIsTraced(t *testing.T) {
	c := collect(t)
	traces := open(t, config.Traces{Endpoint: c.URL, AcceptPerSecond: 5}, nil)
	defer traces.Close()
	for _, test := range []struct {
		what        string
		method      string
		traceparent string
		want        int // of 100, all within much less than a second
	}{
		{"no traceparent", "GET", "", 0},
		{"one that isn't sampled", "GET", notSampled, 0},
		{"garbage", "GET", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", 0},
		{"more than a traceparent", "GET", sampled + "-x", 0},
		{"sampled reads", "GET", sampled, 5},
		{"sampled reads again, whoever asks", "HEAD", sampled, 0},
		{"sampled writes, of a budget of their own", "POST", sampled, 5},
	} {
		got := begun(traces, 100, request(test.method, test.traceparent))
		if got < test.want || got > test.want+2 { // a slow machine may let one or two more through
			t.Errorf("%s: %d of 100 are traced, want %d", test.what, got, test.want)
		}
	}
	always := open(t, config.Traces{Endpoint: c.URL, Sample: 1}, nil)
	defer always.Close()
	for traceparent, want := range map[string]int{"": 10, notSampled: 0, sampled: 10} {
		if got := begun(always, 10, request("GET", traceparent)); got != want {
			t.Errorf("with sample 1 and %q: %d of 10 are traced", traceparent, got)
		}
	}
	_, span := always.begin(request("GET", sampled), "")
	if id := span.SpanContext().TraceID().String(); id == traceID {
		t.Error("a trace that is not accepted was gone on with")
	}
	span.End()
}

func TestSpansReachTheCollector(t *testing.T) {
	c := collect(t)
	traces := open(t, config.Traces{Endpoint: c.URL + "/", AcceptPerSecond: 5, Headers: config.Headers{"api-key": "hunter2"}}, nil)
	ctx, span := traces.begin(request("BREW", sampled), "/v1/feeds/:feed")
	if got := tracing.Text(ctx); got != "00-"+traceID+"-"+span.SpanContext().SpanID().String()+"-01" {
		t.Errorf("the request goes on as %s", got)
	}
	_, child := tracing.Start(ctx, "read")
	child.SetAttributes(tracing.Feed.String(strings.Repeat("x", 10_000)))
	tracing.End(child, errors.New("hunter3"))
	span.End()
	if err := traces.Close(); err != nil {
		t.Error(err)
	}
	if err := traces.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2 || c.header.Get("Api-Key") != "hunter2" {
		t.Fatalf("the collector has %d spans, by %v", len(c.spans), c.header)
	}
	child0, root := c.spans[0], c.spans[1]
	if root.GetName() != "_OTHER /v1/feeds/:feed" || root.GetKind() != tracepb.Span_SPAN_KIND_SERVER || !bytes.Equal(child0.GetParentSpanId(), root.GetSpanId()) {
		t.Errorf("the spans are %v", c.spans)
	}
	text := root.String() + child0.String() + c.resource
	for _, never := range []string{"hunter", "secret", strings.Repeat("x", maxAttribute+1)} {
		if strings.Contains(text, never) {
			t.Errorf("spans tell %.20q: %.2000s", never, text)
		}
	}
	for _, attribute := range []string{"service.name", "doorbell-test", "service.instance.id", "service.version"} {
		if !strings.Contains(c.resource, attribute) {
			t.Errorf("the resource has no %s: %s", attribute, c.resource)
		}
	}
}

// TestACollectorThatHangs holds up neither spans nor a stop, and takes no memory without end.
func TestACollectorThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepted by the system, and answered by nobody
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	traces := open(t, config.Traces{Endpoint: "http://" + l.Addr().String(), Sample: 1}, nil)
	if got := begun(traces, 10*queuedSpans, request("GET", "")); got != 10*queuedSpans {
		t.Errorf("%d spans were begun", got)
	}
	begin := time.Now()
	if err := traces.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*flushWithin {
		t.Errorf("it took %s to stop", took)
	}
}

func TestComplaintsAreRare(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1000, 0)
	c := &complaints{log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for range 120 {
		c.Handle(errors.New("connection refused"))
		now = now.Add(time.Second)
	}
	if n := strings.Count(log.String(), "connection refused"); n != 2 {
		t.Errorf("logged %d times in two minutes:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "more=59") {
		t.Errorf("what was not logged is not counted:\n%s", log.String())
	}
}

// TestUntracedCostsNoMemory: neither a request that isn't traced, nor a span below one.
func TestUntracedCostsNoMemory(t *testing.T) {
	c := collect(t)
	traces := open(t, config.Traces{Endpoint: c.URL, Sample: 1e-12, AcceptPerSecond: 1}, nil)
	defer traces.Close()
	r := request("GET", "")
	for what, f := range map[string]func(){
		"Begin": func() { traces.begin(r, "/v1/feeds/:feed") },
		"Start": func() {
			ctx, span := tracing.Start(r.Context(), "read")
			_ = tracing.Text(ctx)
			tracing.End(span, nil)
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s takes %.0f allocations for what isn't traced", what, n)
		}
	}
}
