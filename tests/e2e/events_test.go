package e2e

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// events is an answer of server-sent events.
type events struct {
	*testing.T
	lines *bufio.Scanner
}

func listen(t *testing.T, server *doorbelltest.Server, query string) *events {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+"/v1/signals?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := doorbelltest.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%s, %s", res.Status, kind)
	}
	return &events{t, bufio.NewScanner(res.Body)}
}

// expect reads until an event of that name comes, and gives its data's member of that name.
func (e *events) expect(name string) json.RawMessage {
	e.Helper()
	for last := ""; e.lines.Scan(); {
		field, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch {
		case field == "event":
			last = value
		case field == "data" && last == name:
			var message map[string]json.RawMessage
			if err := json.Unmarshal([]byte(value), &message); err != nil || message[name] == nil {
				e.Fatalf("the event %s has the data %s", name, value)
			}
			return message[name]
		}
	}
	e.Fatalf("waiting for %s: %v", name, e.lines.Err())
	return nil
}

// TestEvents: what is written is heard of, and a server that stops says so and ends with everybody listening.
func TestEvents(t *testing.T) {
	server, head := fed(t)
	e := listen(t, server, "feed=demo:mine&feed=demo:none")
	if got := string(e.expect("subscribed")); got != `{"demo:mine":"`+head+`","demo:none":""}` {
		t.Errorf("subscribed: %s", got)
	}
	for n := range 20 {
		written, err := server.Client().Put(t.Context(), "demo:mine", "one", put("", n).Value)
		if err != nil {
			t.Fatal(err)
		}
		for heard := ""; !strings.Contains(heard, written.Cursor); {
			heard = string(e.expect("changed"))
		}
	}
	server.Stop()
	if got := string(e.expect("close")); !strings.Contains(got, "1012") {
		t.Errorf("the end is %s", got)
	}
	if e.lines.Scan(); e.lines.Scan() {
		t.Errorf("after the end: %s", e.lines.Text())
	}
}
