package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// spans traces every request, as "route", and keeps what has ended.
type spans struct{ *tracetest.SpanRecorder }

func traceAll() (spans, option) {
	s := spans{tracetest.NewSpanRecorder()}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s)).Tracer("test")
	return s, func(o *api.Options) {
		o.Traces = func(r *http.Request, route string) (context.Context, trace.Span) {
			return tracer.Start(r.Context(), route) //nolint:spancheck // the API ends it
		}
	}
}

// tree gives the spans that have ended since, each as "root/…/name", "!" behind those that failed.
func (s spans) tree() map[string]sdktrace.ReadOnlySpan {
	ended := s.Ended()
	s.Reset()
	byID := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, span := range ended {
		byID[span.SpanContext().SpanID()] = span
	}
	all := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range ended {
		path := span.Name()
		for p := byID[span.Parent().SpanID()]; p != nil; p = byID[p.Parent().SpanID()] {
			path = p.Name() + " > " + path
		}
		if span.Status().Code == codes.Error {
			path += "!"
		}
		all[path] = span
	}
	return all
}

// traceEar hears which trace the last signal had.
type traceEar chan string

func (e traceEar) Signal(feed.Name, bus.Head)                        { e <- "" }
func (e traceEar) TracedSignal(_ feed.Name, _ bus.Head, text string) { e <- text }
func (traceEar) Alive(bool)                                          {}

func wantSpans(t *testing.T, got map[string]sdktrace.ReadOnlySpan, want ...string) {
	t.Helper()
	for _, path := range want {
		if got[path] == nil {
			t.Errorf("there is no span %q; there are %v", path, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d spans, want %d: %v", len(got), len(want), got)
	}
}

func TestSpansOfRequests(t *testing.T) {
	s, on := traceAll()
	h := newHarness(t, on, func(o *api.Options) { o.AtLeastWait = 50 * time.Millisecond })
	ear := make(traceEar, 10)
	sub, err := h.bus.Subscribe(ear)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if _, err := sub.Follow(t.Context(), "pub:a"); err != nil {
		t.Fatal(err)
	}
	const changes, feedRoute = "/v1/feeds/:feed/changes", "/v1/feeds/:feed"
	bearer := header{"Authorization": "Bearer " + writerToken}
	write := func() {
		t.Helper()
		if a := h.do("POST", "/v1/feeds/pub:a/changes", `{"changes":[{"key":"k","value":1}]}`, bearer); a.StatusCode != http.StatusOK {
			t.Fatal(a.body)
		}
	}
	write()
	got := s.tree()
	wantSpans(t, got, changes, changes+" > database append", changes+" > publish")
	if publish := got[changes+" > publish"]; publish != nil {
		id := publish.SpanContext()
		if said, want := <-ear, "00-"+id.TraceID().String()+"-"+id.SpanID().String()+"-01"; said != want {
			t.Errorf("the signal has the trace %q, want %q", said, want)
		}
	}

	head := h.do("GET", "/v1/feeds/pub:a", "").Header.Get("Doorbell-Cursor")
	wantSpans(t, s.tree(), feedRoute, feedRoute+" > read", feedRoute+" > read > fill", feedRoute+" > read > fill > database delta")
	h.do("GET", "/v1/feeds/pub:a", "")
	wantSpans(t, s.tree(), feedRoute)

	// One that waits for what never comes asks once more, in the end.
	ahead := head[:len(head)-1] + "9"
	if a := h.do("GET", "/v1/feeds/pub:a?at_least="+ahead, ""); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a read that is ahead got %d", a.StatusCode)
	}
	got = s.tree()
	for _, path := range []string{feedRoute + "!", feedRoute + " > read!", feedRoute + " > read > wait for at_least"} {
		if got[path] == nil {
			t.Errorf("there is no span %q; there are %v", path, got)
		}
	}

	h.do("GET", "/v1/feeds/pub:a/changes?since="+head+"&wait=1", "")
	got = s.tree()
	if got[changes+" > wait for news"] == nil || got[changes+" > read"] == nil {
		t.Errorf("the spans of a long poll are %v", got)
	}
	h.do("GET", "/v1/feeds/pub:a/items/k", "")
	h.do("GET", "/nowhere", "")
	s.tree()
}

// TestUntracedReadsCostWhatTheyDoWithoutTraces: a look at each request.
func TestUntracedReadsCostWhatTheyDoWithoutTraces(t *testing.T) {
	if raced {
		t.Log("the race detector allocates as well")
		return
	}
	costs := map[string]float64{}
	for name, o := range map[string]option{
		"off": func(*api.Options) {},
		"untraced": func(o *api.Options) {
			o.Traces = func(*http.Request, string) (context.Context, trace.Span) { return nil, nil }
		},
	} {
		h := newHarness(t, o)
		if a := h.do("POST", "/v1/feeds/pub:a/changes", `{"changes":[{"key":"k","value":1}]}`, header{"Authorization": "Bearer " + writerToken}); a.StatusCode != http.StatusOK {
			t.Fatal(a.body)
		}
		h.do("GET", "/v1/feeds/pub:a", "")
		read := httptest.NewRequest(http.MethodGet, "/v1/feeds/pub:a", nil)
		w := httptest.NewRecorder()
		costs[name] = testing.AllocsPerRun(500, func() {
			w.Body.Reset()
			h.api.Handler().ServeHTTP(w, read)
		})
	}
	if costs["untraced"] != costs["off"] {
		t.Errorf("allocations of a read from memory: %v", costs)
	}
}
