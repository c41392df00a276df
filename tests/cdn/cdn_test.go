//go:build unix

package cdn

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/edge"
)

// suite is one cache and what is behind it.
type suite struct {
	*origin
	edge *edge.Edge
	http *http.Client
}

func TestNginx(t *testing.T)   { run(t, edge.Nginx) }   //nolint:tparallel // one edge for all, whose requests are counted
func TestVarnish(t *testing.T) { run(t, edge.Varnish) } //nolint:tparallel // likewise

func run(t *testing.T, start func(string, edge.Origin) (*edge.Edge, error)) {
	t.Parallel()
	o := startOrigin(t)
	folder, err := os.MkdirTemp("", "edge.") //nolint:usetesting // t.TempDir's path is too long for Varnish's sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	e, err := start(folder, edge.Origin{APIs: []string{o.addr}, Gateways: []string{o.addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			t.Logf("standard error of %s:\n%s", e.Name, e.Log)
		}
	})
	client := doorbelltest.HTTP(t)
	client.Timeout = doorbelltest.Patience
	client.Transport.(*http.Transport).DisableCompression = true
	s := &suite{origin: o, edge: e, http: client}
	heldLongest := s.longest(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"a crowd that pulls one pinned URL", testCrowd},
		{"a pinned URL is kept", testPinned},
		{"stale while revalidated", testStaleWhileRevalidate},
		{"stale while the origin fails", testStaleIfError},
		{"what is never kept", testNeverKept},
		{"errors of whoever stands in for Doorbell", testForeignErrors},
		{"private feeds", testPrivate},
		{"a missing feed is missing for a second", testMissing},
		{"HEAD", testHead},
		{"encodings", testEncodings},
		{"writes", testWrites},
		{"WebSocket", testWebSocket},
		{"server-sent events", testEvents},
		{"signals as events", testSignals},
		{"long polls", testLongPolls},
		{"long polls are woken", testPollsAreWoken},
		{"long polls whose clients leave", testPollsThatAreLeft},
		{"the longest polls", func(t *testing.T, _ *suite) { heldLongest(t) }},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// got is an answer that was read to its end.
type got struct {
	status int
	header http.Header
	body   string
}

// get gets a path of the cache, with headers as "Name: value".
func (s *suite) get(t *testing.T, uri string, header ...string) got {
	t.Helper()
	return s.do(t, http.MethodGet, uri, "", header...)
}

func (s *suite) do(t *testing.T, method, uri, body string, header ...string) got {
	t.Helper()
	g, err := s.try(t, method, uri, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (s *suite) try(t *testing.T, method, uri, body string, header ...string) (got, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, s.edge.URL()+uri, strings.NewReader(body))
	if err != nil {
		return got{}, err
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.http.Do(req)
	if err != nil {
		return got{}, err
	}
	text, err := io.ReadAll(res.Body)
	return got{res.StatusCode, res.Header, string(text)}, errors.Join(err, res.Body.Close())
}

// read is an answer, with what went wrong in the place of its body.
func read(res *http.Response) got {
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return got{res.StatusCode, res.Header, err.Error()}
	}
	return got{res.StatusCode, res.Header, string(text)}
}

// wantStatus checks an answer's status.
func wantStatus(t *testing.T, what string, g got, status int) {
	t.Helper()
	if g.status != status {
		t.Fatalf("%s: %d %s; want %d", what, g.status, g.body, status)
	}
}

// wantCount checks how often requests of uri have reached the origin.
func (s *suite) wantCount(t *testing.T, uri string, want int) {
	t.Helper()
	if n := s.count(uri); n != want {
		t.Errorf("%s reached the origin %d times; want %d", uri, n, want)
	}
}
