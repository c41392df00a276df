// Package otlp gives tests a collector of traces: it takes OTLP over HTTP, and keeps what comes.
package otlp

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// Collector is one. It ends with its test.
type Collector struct {
	URL string

	mu sync.Mutex
	// Guarded by mu.
	spans  []Span
	header http.Header // of the last request
}

// Span is what matters of one.
type Span struct {
	Service, Name     string
	Trace, ID, Parent string // in hex; "" for none
	Attributes        map[string]string
	Failed            bool
	Text              string // all of it, and of its resource, for what must not be there
}

// Start starts it.
func Start(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{}
	server := httptest.NewServer(http.HandlerFunc(c.serve))
	tb.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	request, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	for _, rs := range request.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.spans = append(c.spans, spanOf(service, rs.GetResource().String(), s))
			}
		}
	}
}

func read(r *http.Request) (*coltracepb.ExportTraceServiceRequest, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	}
	all, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var request coltracepb.ExportTraceServiceRequest
	return &request, proto.Unmarshal(all, &request)
}

func spanOf(service, resource string, s *tracepb.Span) Span {
	span := Span{
		Service: service, Name: s.GetName(),
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Attributes: map[string]string{}, Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		Text: resource + s.String(),
	}
	for _, a := range s.GetAttributes() {
		value := a.GetValue().GetStringValue()
		if value == "" {
			value = fmt.Sprint(a.GetValue().GetIntValue())
		}
		span.Attributes[a.GetKey()] = value
	}
	return span
}

// Spans are all that have come so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Header is what the last ones came with.
func (c *Collector) Header() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header
}

// Await waits for a span of that service and name below a parent, and gives it.
func (c *Collector) Await(tb testing.TB, service, name, parent string) Span {
	tb.Helper()
	var found Span
	doorbelltest.Eventually(tb, fmt.Sprintf("the span %s of %s below %s", name, service, parent), func() bool {
		all := c.Spans()
		i := slices.IndexFunc(all, func(s Span) bool { return s.Service == service && s.Name == name && s.Parent == parent })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// Below are the names of the spans that have the parent, sorted.
func (c *Collector) Below(parent string) []string {
	var names []string
	for _, s := range c.Spans() {
		if s.Parent == parent {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// String lists the spans.
func (c *Collector) String() string {
	var b strings.Builder
	for _, s := range c.Spans() {
		fmt.Fprintf(&b, "%s %s: %s %q below %s %v\n", s.Trace, s.ID, s.Service, s.Name, s.Parent, s.Attributes)
	}
	return b.String()
}
