package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "doorbell.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsRun(t *testing.T) {
	for name, text := range map[string]string{"no file": "-", "an empty file": "", "comments alone": "# nothing\n"} {
		path := ""
		if text != "-" {
			path = write(t, text)
		}
		c, err := Load(path, nil)
		if err == nil {
			err = c.Validate()
		}
		if err != nil || c.Listen != "127.0.0.1:8080" || c.Default.Public {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestNamespacesBeginWithTheDefault(t *testing.T) {
	c, err := Load(write(t, `
listen: 127.0.0.1:9000
namespaces:
  prices: {public: true, signal_interval: 500ms, cache: {shared: 2s}}
  inbox: {max_items: 100}
default:
  retention: 48h
  max_value_bytes: 1024
`), []string{"DOORBELL_LISTEN=127.0.0.1:9999", "DOORBELL_ORIGINS=https://a.example,https://b.example", "HOME=/"})
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:9999" {
		t.Errorf("listen is %q; the environment comes after the file", c.Listen)
	}
	if len(c.Origins) != 2 || c.Origins[1] != "https://b.example" {
		t.Errorf("origins are %q", c.Origins)
	}
	prices, inbox, other := c.Policies().For("prices:x"), c.Policies().For("inbox:x"), c.Policies().For("other")
	if !prices.Public || prices.SignalInterval != 500*time.Millisecond || prices.Cache.Shared != 2*time.Second ||
		prices.Cache.Pinned != time.Hour || prices.Retention != 48*time.Hour || prices.MaxValueBytes != 1024 {
		t.Errorf("prices is %+v; want its own over the default", prices)
	}
	if inbox.Public || inbox.MaxItems != 100 || other.MaxItems != 0 || other.Retention != 48*time.Hour {
		t.Errorf("inbox is %+v, others %+v", inbox, other)
	}
	c.Public()
	if !c.Policies().For("inbox:x").Public || !c.Policies().For("other").Public {
		t.Error("not everything is public in development")
	}
}

func TestUnknownKeysAndWrongTypesAreAllReported(t *testing.T) {
	_, err := Load(write(t, "listn: x\ndefault:\n  publik: true\n  max_items: many\nnamespaces:\n  a: {retension: 1h}\n"), nil)
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"line 1", "listn", "line 3", "publik", "line 4", "many", "line 6", "retension"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "config.") || strings.Contains(err.Error(), "policy.") {
		t.Errorf("the error speaks of Go types:\n%v", err)
	}
}

// TestAllKindsOfMistakesAreReportedTogether: what can't be read in the file and in the environment, and what is wrong with the rest;
// but nothing that is only wrong because something couldn't be read.
func TestAllKindsOfMistakesAreReportedTogether(t *testing.T) {
	c, err := Load(write(t, `
listen: 0.0.0.0:80
keys: all
drain_wait: soon
data: here
origins: [nope]
default: {max_batch: 0}
authorization: {url: 7, secret: [x]}
gateway: {max_feeds: many, max_age: 1s}
namespaces:
  a: {max_items: few, max_batch: 5000}
  b: {authorize: true}
  Bad: {}
`), []string{"DOORBELL_API_CACHE_BYTES=plenty", "DOORBELL_TRUSTED_PROXIES=proxy"})
	text := errors.Join(err, c.Validate(), c.Need(true, true)).Error()
	for _, want := range []string{
		"line 3", "line 4", "soon", `origins: "nope"`, "default.max_batch", "line 8", "line 9", "many", "gateway.max_age", "line 11", "few",
		"namespaces.a.max_batch", `"Bad"`, "DOORBELL_API_CACHE_BYTES", "trusted_proxies",
	} {
		if strings.Count(text, want) == 0 {
			t.Errorf("the error does not say %q", want)
		}
	}
	for want, most := range map[string]int{"line 11": 1, "needs keys": 0, "has authorize": 0, "is empty": 0, "config.": 0, "policy.": 0} {
		if n := strings.Count(text, want); n > most {
			t.Errorf("the error says %q %d times", want, n)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	if c.Data != "here" || c.Gateway.MaxFeeds != Defaults().Gateway.MaxFeeds {
		t.Errorf("read: %+v", c)
	}
}

// TestWhatIsNoYAML: what the environment says is judged all the same.
func TestWhatIsNoYAML(t *testing.T) {
	for name, path := range map[string]string{"not YAML": write(t, "a: [\n"), "no file": "/nowhere/doorbell.yaml"} {
		c, err := Load(path, []string{"DOORBELL_ORIGINS=nope"})
		if err == nil || c.Validate() == nil || !strings.Contains(c.Validate().Error(), "nope") {
			t.Errorf("%s: %v, %v", name, err, c.Validate())
		}
	}
}

func TestValidateReportsEverything(t *testing.T) {
	c := Defaults()
	c.Listen = "0.0.0.0:80"
	c.Origins = []string{"app.example.com", "https://*.example.com", "https://a.example/path", "https://a*.example"}
	c.TrustedProxies = []string{"10.0.0.0/8", "proxy"}
	c.Default.MaxBatch = 0
	err := c.Validate()
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"needs keys", `origins: "app.example.com"`, "/path", "a*.example", "trusted_proxies", `"proxy"`, "default.max_batch"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	for _, good := range []string{`"https://*.example.com" is`, `"10.0.0.0/8" is`} {
		if strings.Contains(err.Error(), good) {
			t.Errorf("the error complains of %s:\n%v", good, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for listen, want := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "localhost:80": true, "127.9.9.9:1": true,
		":80": false, "0.0.0.0:80": false, "10.0.0.1:80": false, "example.com:80": false, "x": false,
	} {
		c := Config{Listen: listen}
		if got := c.Loopback(); got != want {
			t.Errorf("%s is loopback: %v; want %v", listen, got, want)
		}
	}
}

func TestPrintHidesSecretsAndIsReadAgain(t *testing.T) {
	c, err := Load(write(t, `
database_url: postgres://me:hunter2@db/doorbell?password=hunter3
database_replica_urls: ["postgres://me:hunter6@replica/doorbell"]
redis_url: redis://:hunter4@cache:6379/0
keys: [{name: shop, secret: hunter5-hunter5-hunter5, read: ["*"]}]
namespaces: {prices: {public: true}}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter") {
		t.Errorf("a secret is printed:\n%s", b.String())
	}
	again, err := Load(write(t, b.String()), nil)
	if err != nil {
		t.Fatalf("what is printed can't be read: %v\n%s", err, b.String())
	}
	if !again.Namespaces["prices"].Public || again.Default != c.Default || again.DrainWait != c.DrainWait {
		t.Errorf("what is printed is not what was read:\n%s", b.String())
	}
}

func TestNeed(t *testing.T) {
	c := Defaults()
	err := c.Need(true, true)
	if err == nil || !strings.Contains(err.Error(), "DOORBELL_DATABASE_URL") || !strings.Contains(err.Error(), "DOORBELL_REDIS_URL") {
		t.Errorf("without servers: %v; want both named", err)
	}
	c.DatabaseURL, c.RedisURL = "mysql://me:hunter2@x", "not a url"
	c.DatabaseReplicaURLs = []string{"", "mysql://me:hunter2@x"}
	err = c.Validate()
	if err == nil || !strings.Contains(err.Error(), "database_url") || !strings.Contains(err.Error(), "redis_url") || strings.Contains(err.Error(), "hunter2") ||
		!strings.Contains(err.Error(), "database_replica_urls[0]") || !strings.Contains(err.Error(), "database_replica_urls[1]") {
		t.Errorf("with wrong URLs: %v; want both named and no password", err)
	}
}

func TestInternalListen(t *testing.T) {
	for text, good := range map[string]bool{"": true, "127.0.0.1:9090": true, ":9090": true, "9090": false, "host:": false} {
		c := Defaults()
		c.InternalListen = text
		if err := c.Validate(); (err == nil) != good {
			t.Errorf("internal_listen %q: %v", text, err)
		}
	}
}

// TestWrongVariablesAreNamed as the operator knows them.
func TestWrongVariablesAreNamed(t *testing.T) {
	_, err := Load("", []string{"DOORBELL_DRAIN_WAIT=soon"})
	if err == nil || !strings.Contains(err.Error(), "DOORBELL_DRAIN_WAIT: ") || !strings.Contains(err.Error(), "soon") {
		t.Errorf("a drain wait that is none: %v", err)
	}
}
