//go:build unix

package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/otlp"
)

const (
	tracedFeed = "loop:traced"
	itsKey     = "a-key-that-nobody-else-shall-see"
	itsValue   = "a-value-that-nobody-else-shall-see"
	callerSpan = "00f067aa0ba902b7"
)

// traceparent is a caller's, of the trace with that number.
func traceparent(trace int, flags string) string {
	return "00-" + traceID(trace) + "-" + callerSpan + "-" + flags
}

func traceID(trace int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e%06x", trace) }

// TestATraceFromWriteToPull: one write, by an API, both gateways, and the pull of a follower at the other API, as one trace.
func TestATraceFromWriteToPull(t *testing.T) {
	collector := otlp.Start(t)
	c := cluster.Start(t, cluster.Options{Config: fmt.Sprintf("traces: {endpoint: %q, headers: {api-key: hunter2}}\n", collector.URL)})
	writeTraced(t, c, "")
	follower := followFeed(t, c.APIs[1].Client(doorbell.WithGateway(c.Gateways[0].URL())))
	heard := hear(t, c.Gateways[1].URL())

	// What isn't sampled leaves no mark, neither here nor in what clients are told.
	for _, said := range []string{"", traceparent(1, "00"), "garbage"} {
		cursor := writeTraced(t, c, said)
		follower.await(t, cursor)
		if frame, want := <-heard, fmt.Sprintf(`{"changed":{%q:%q}}`, tracedFeed, cursor); frame != want {
			t.Errorf("told %s, want %s", frame, want)
		}
	}

	cursor := writeTraced(t, c, traceparent(2, "01"))
	follower.await(t, cursor)
	frame := <-heard

	write := collector.Await(t, "doorbell-api", "POST /v1/feeds/:feed/changes", callerSpan)
	appended := collector.Await(t, "doorbell-api", "database append", write.ID)
	publish := collector.Await(t, "doorbell-api", "publish", write.ID)
	doorbelltest.Eventually(t, "both gateways tell", func() bool { return len(collector.Below(publish.ID)) == 2 })
	var pulled otlp.Span
	for _, s := range collector.Spans() {
		if s.Parent != publish.ID {
			continue
		}
		if s.Service != "doorbell-gateway" || s.Name != "signal" || s.Attributes["doorbell.followers"] != "1" || s.Attributes["doorbell.cursor"] != cursor {
			t.Errorf("below publish is %+v", s)
		}
		if want := fmt.Sprintf(`{"changed":{%q:%q},"traceparent":"00-%s-%s-01"}`, tracedFeed, cursor, traceID(2), s.ID); frame != want {
			pulled = s // that of the other gateway
		}
	}
	if pulled.ID == "" || !strings.HasPrefix(frame, fmt.Sprintf(`{"changed":{%q:%q},"traceparent":"00-%s-`, tracedFeed, cursor, traceID(2))) {
		t.Errorf("told %s; the spans are\n%s", frame, collector)
	}
	pull := collector.Await(t, "doorbell-api", "GET /v1/feeds/:feed/changes", pulled.ID)
	read := collector.Await(t, "doorbell-api", "read", pull.ID)
	fill := collector.Await(t, "doorbell-api", "fill", read.ID)
	query := collector.Await(t, "doorbell-api", "database delta", fill.ID)
	if read.Attributes["doorbell.from"] != "database" || pull.Attributes["http.response.status_code"] != "200" || pull.Attributes["doorbell.cursor"] != cursor {
		t.Errorf("the pull is %v, %v", pull.Attributes, read.Attributes)
	}

	// From memory, with nothing below.
	getTraced(t, c.APIs[1].URL()+"/v1/feeds/"+tracedFeed, traceparent(3, "01"))
	getTraced(t, c.APIs[1].URL()+"/v1/feeds/"+tracedFeed, traceparent(4, "01"))
	doorbelltest.Eventually(t, "a read from memory", func() bool {
		return slices.ContainsFunc(collector.Spans(), func(s otlp.Span) bool {
			return s.Trace == traceID(4) && s.Attributes["doorbell.from"] == "memory" && len(collector.Below(s.ID)) == 0
		})
	})

	for _, s := range []otlp.Span{appended, publish, pulled, read, fill, query} {
		if s.Trace != traceID(2) || s.Failed {
			t.Errorf("the span %s of %s is of the trace %s, failed: %t", s.Name, s.Service, s.Trace, s.Failed)
		}
	}
	for _, s := range collector.Spans() {
		if !slices.Contains([]string{traceID(2), traceID(3), traceID(4)}, s.Trace) {
			t.Errorf("a span of a request that isn't sampled: %+v", s)
		}
		for _, never := range []string{itsKey, itsValue, cluster.Key, "hunter2", "127.0.0.1"} {
			if strings.Contains(s.Text, never) {
				t.Errorf("the span %s tells %q: %s", s.Name, never, s.Text)
			}
		}
	}
	if got := collector.Header().Get("Api-Key"); got != "hunter2" {
		t.Errorf("the collector was shown the key %q", got)
	}
	for _, n := range c.Nodes() {
		if strings.Contains(n.Log(), "hunter2") {
			t.Error("a log has the collector's key")
		}
	}
}

// writeTraced writes at the first API, and gives the cursor.
func writeTraced(t *testing.T, c *cluster.Cluster, traceparent string) string {
	t.Helper()
	body := fmt.Sprintf(`{"changes":[{"key":%q,"value":%q}]}`, itsKey, itsValue)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.APIs[0].URL()+"/v1/feeds/"+tracedFeed+"/changes", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+cluster.Key)
	sendTraced(t, req, traceparent)
	heads, err := c.APIs[0].Client().Heads(t.Context(), tracedFeed)
	if err != nil {
		t.Fatal(err)
	}
	return heads[tracedFeed].Cursor
}

func getTraced(t *testing.T, url, traceparent string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	sendTraced(t, req, traceparent)
}

func sendTraced(t *testing.T, req *http.Request, traceparent string) {
	t.Helper()
	if traceparent != "" {
		req.Header.Set("Traceparent", traceparent)
	}
	res, err := doorbelltest.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d", req.Method, req.URL, res.StatusCode)
	}
}

// following is a follower's cursors, as they come.
type following chan string

// followFeed gives one that has caught up, by a signal.
func followFeed(t *testing.T, client *doorbell.Client) following {
	t.Helper()
	cursors := make(following, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	live := make(chan struct{}, 10)
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		onStatus := func(s doorbell.Status) {
			if s.Mode == doorbell.Live {
				live <- struct{}{}
			}
		}
		for e, err := range client.Follow(ctx, tracedFeed, doorbell.FollowOptions{OnStatus: onStatus}) {
			if err != nil {
				return
			}
			if e.Kind == doorbell.CaughtUp {
				cursors <- e.Cursor
			}
		}
	}()
	for _, c := range []<-chan struct{}{live} {
		select {
		case <-c:
		case <-time.After(doorbelltest.Patience):
			t.Fatal("the follower doesn't go live")
		}
	}
	<-cursors
	return cursors
}

func (f following) await(t *testing.T, cursor string) {
	t.Helper()
	for late := time.After(doorbelltest.Patience); ; {
		select {
		case got := <-f:
			if got == cursor {
				return
			}
		case <-late:
			t.Fatalf("the follower never comes to %s", cursor)
		}
	}
}

// hear gives what a socket is told after it has subscribed.
func hear(t *testing.T, url string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	conn, _, err := websocket.Dial(ctx, url+"/v1/signals", &websocket.DialOptions{Subprotocols: []string{"doorbell.v1.json"}})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	frames, done := make(chan string, 100), make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		defer func() { _ = conn.CloseNow() }()
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				return
			}
			frames <- string(frame)
		}
	}()
	if err := conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"subscribe":{%q:""}}`, tracedFeed)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // hello, subscribed
		<-frames
	}
	return frames
}
