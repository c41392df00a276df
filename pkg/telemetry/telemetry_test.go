package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAPartServesMetricsAndProfiles(t *testing.T) {
	tel := New()
	rings := prometheus.NewCounter(prometheus.CounterOpts{Name: "doorbell_test_rings_total", Help: "Rings."})
	tel.Registerer().MustRegister(rings)
	rings.Add(3)

	var logs bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logs, nil))
	part := tel.Part("127.0.0.1:0", log, func(err error) { t.Error(err) })
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := part.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	found := regexp.MustCompile(`url=(http://127\.0\.0\.1:\d+)`).FindStringSubmatch(logs.String())
	if found == nil {
		t.Fatalf("the log does not say where:\n%s", logs.String())
	}
	url := found[1]
	for path, want := range map[string]string{
		"/metrics":                       "\ndoorbell_test_rings_total 3\n",
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile:",
		"/healthz":                       "ok",
	} {
		if status, body := get(t, url+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s is %d, and does not say %q:\n%.300s", path, status, want, body)
		}
	}
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, "\ngo_goroutines ") || !strings.Contains(body, "\nprocess_resident_memory_bytes ") {
		t.Error("the runtime's metrics are missing")
	}
	if status, _ := get(t, url+"/v1/feeds/x"); status != http.StatusNotFound {
		t.Errorf("another path is %d; want 404", status)
	}
}

func TestWithoutAnAddressThereIsNothingToServe(t *testing.T) {
	if part := New().Part("", slog.Default(), nil); part.Start != nil || part.Stop != nil {
		t.Error("a part without an address starts something")
	}
}
