package config

import (
	"strings"
	"testing"
)

func TestTracesAreOffByDefault(t *testing.T) {
	if c := Defaults(); c.Traces.Endpoint != "" || c.Traces.Sample != 0 {
		t.Errorf("the defaults trace: %+v", c.Traces)
	}
}

func TestTracesFromFileAndEnvironment(t *testing.T) {
	c, err := Load(write(t, "traces: {endpoint: 'http://127.0.0.1:4318', sample: 0.25, headers: {api-key: hunter1}}"),
		[]string{"DOORBELL_TRACES_ACCEPT_PER_SECOND=3", "DOORBELL_TRACES_HEADERS=authorization=Basic aHVudGVyMg==, x-team = prices"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	got := c.Traces
	if got.Endpoint != "http://127.0.0.1:4318" || got.Sample != 0.25 || got.AcceptPerSecond != 3 ||
		got.Headers["authorization"] != "Basic aHVudGVyMg==" || got.Headers["x-team"] != "prices" {
		t.Errorf("traces are %+v", got)
	}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "aHVudGVyMg") || strings.Contains(text, "prices") || !strings.Contains(text, "authorization: (hidden)") {
		t.Errorf("printed:\n%s", text)
	}
	if got.Headers["x-team"] != "prices" {
		t.Error("printing has changed the configuration")
	}
}

func TestWrongTracesAreReportedWithoutSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"endpoint: 'localhost:4318'":                    "traces.endpoint is not a URL",
		"endpoint: 'http://me:hunter2@collector:4318'":  "traces.endpoint has a user",
		"endpoint: 'http://collector:4318?key=hunter2'": "traces.endpoint has a user, a query",
		"sample: 1.5":                                    "traces.sample is 1.5; allowed: 0 to 1",
		"sample: .nan":                                   "traces.sample is NaN",
		"accept_per_second: -1":                          "traces.accept_per_second is -1",
		"headers: {'a b': hunter2}":                      `traces.headers has the name "a b"`,
		`headers: {a: "hunter2\nb: c"}`:                  "traces.headers.a has a line break",
		"headers: hunter2":                               "name=value",
		"endpoint: 'http://collector:4318', sampled: .5": "sampled",
	} {
		c, err := Load(write(t, "traces: {"+text+"}"), nil)
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	_, err := Load("", []string{"DOORBELL_TRACES_HEADERS=hunter2"})
	if err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), "DOORBELL_TRACES_HEADERS") {
		t.Errorf("headers that are none: %v", err)
	}
}
