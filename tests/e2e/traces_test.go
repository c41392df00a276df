package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/otlp"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

const (
	tracedID    = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + tracedID + "-00f067aa0ba902b7-01"
)

// tracedDev is a server whose traces go to that address.
func tracedDev(t *testing.T, traces string) *doorbelltest.Server {
	t.Helper()
	return doorbelltest.Dev(t, "--config", doorbelltest.File(t, "doorbell.yaml", "traces: {"+traces+"}\n"))
}

// traced makes a request with the traceparent, and gives the answer, which has to be 200.
func traced(t *testing.T, server *doorbelltest.Server, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", traceparent)
	res, err := doorbelltest.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s, %v", method, path, res.StatusCode, text, err)
	}
	return string(text)
}

func putTraced(t *testing.T, server *doorbelltest.Server, i int) (cursor string) {
	t.Helper()
	var written struct{ Cursor string }
	answer := traced(t, server, http.MethodPut, "/v1/feeds/traced:1/items/k", fmt.Sprint(i))
	if err := json.Unmarshal([]byte(answer), &written); err != nil {
		t.Fatal(err)
	}
	return written.Cursor
}

// TestOneProcessTracesAllOfIt, a long poll as well; and what is still queued when it stops.
func TestOneProcessTracesAllOfIt(t *testing.T) {
	collector := otlp.Start(t)
	server := tracedDev(t, fmt.Sprintf("endpoint: %q", collector.URL))
	first := putTraced(t, server, 1)
	write := collector.Await(t, "doorbell", "PUT /v1/feeds/:feed/items/:key", "00f067aa0ba902b7")
	publish := collector.Await(t, "doorbell", "publish", write.ID)
	if below := collector.Below(publish.ID); len(below) != 0 {
		t.Errorf("below a signal that nobody is told: %q", below)
	}
	polled := make(chan string)
	go func() {
		polled <- traced(t, server, http.MethodGet, "/v1/feeds/traced:1/changes?since="+first+"&wait=30", "")
	}()
	socket := dialSocket(t, server.Addr())
	socket.send(`{"subscribe":{"traced:1":""}}`)
	socket.expect("subscribed")
	doorbelltest.Eventually(t, "the poll is answered", func() bool {
		putTraced(t, server, 2)
		select {
		case <-polled:
			return true
		default:
			return false
		}
	})
	server.Stop()
	spans := collector.Spans()
	has := map[string]bool{}
	for _, s := range spans {
		has[s.Name] = true
		if s.Trace != tracedID || s.Service != "doorbell" {
			t.Errorf("the span %+v", s)
		}
	}
	for _, name := range []string{"signal", "read", "fill", "database delta", "wait for news", "GET /v1/feeds/:feed/changes"} {
		if !has[name] {
			t.Errorf("there is no span %q; there are\n%s", name, collector)
		}
	}
}

// TestWithoutACollectorNothingIsTraced, whatever a client asks for.
func TestWithoutACollectorNothingIsTraced(t *testing.T) {
	server := doorbelltest.Dev(t)
	socket := dialSocket(t, server.Addr())
	socket.send(`{"subscribe":{"traced:1":""}}`)
	socket.expect("subscribed")
	cursor := putTraced(t, server, 1)
	_, frame, err := socket.read()
	if want := fmt.Sprintf(`{"changed":{"traced:1":%q}}`, cursor); err != nil || string(frame) != want {
		t.Errorf("told %s, %v; want %s", frame, err, want)
	}
}

// TestACollectorThatIsAway, or doesn't answer, holds up neither requests nor a stop, and doesn't fill the log.
func TestACollectorThatIsAway(t *testing.T) {
	nobody, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for what, addr := range map[string]string{"away": nobody, "silent": silent.Addr().String()} {
		t.Run(what, func(t *testing.T) {
			server := tracedDev(t, fmt.Sprintf("endpoint: 'http://%s', sample: 1, headers: {api-key: hunter2}", addr))
			client := server.Client()
			for i := range 200 {
				putTraced(t, server, i)
				if _, err := client.Load(t.Context(), "traced:1"); err != nil {
					t.Fatal(err)
				}
			}
			server.Stop()
			log := server.Log()
			if n := strings.Count(log, "traces don't reach"); n > 3 || strings.Contains(log, "hunter2") {
				t.Errorf("the log complains %d times:\n%s", n, log)
			}
		})
	}
}
