package api_test

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/httphost/lines"
)

// TestLinesSayTheSame: an answer whose fields go over the wire as they were written out has the very fields of one whose fields
// go through net/http, and the same body.
func TestLinesSayTheSame(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	long := h.put("pub:a", "two", `"`+strings.Repeat("x", 3000)+`"`)
	inbox := h.put("inbox:7", "one", "1")
	served := map[string]*httptest.Server{}
	for _, how := range []string{"map", "lines"} {
		s := httptest.NewUnstartedServer(h.api.Handler())
		if how == "lines" {
			s.Listener, s.Config.ConnContext = lines.Listener(s.Listener), lines.Context
		}
		s.Start()
		defer s.Close()
		served[how] = s
	}
	// net/http sorts all that it writes itself.
	c, err := net.Dial("tcp", served["lines"].Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /v1/feeds/pub:a HTTP/1.0\r\n\r\n")
	if raw, err := io.ReadAll(c); err != nil || bytes.Index(raw, []byte("X-Content-Type-Options")) > bytes.Index(raw, []byte("Content-Length")) {
		t.Errorf("%v; no lines were sent: %.500s", err, raw)
	}
	_ = c.Close()
	for _, target := range []string{
		"/v1/feeds/pub:a", "/v1/feeds/pub:a?at_least=" + long, "/v1/feeds/pub:a?limit=1", "/v1/feeds/pub:a/changes?since=" + long[:7] + "-1",
		"/v1/feeds/pub:a/changes?since=" + long, "/v1/feeds/pub:a/changes?wait=1", "/v1/feeds/pub:a/items/two", "/v1/feeds/pub:a?x=1",
		"/v1/feeds/inbox:7", "/v1/feeds/inbox:7?at_least=" + inbox, "/v1/feeds/pub:none", "/v1/feeds/pub:a/items/none", "/v1/heads?feed=pub:a",
	} {
		for _, more := range []header{nil, {"Accept-Encoding": "gzip"}, {"If-None-Match": `W/"` + long + `"`}, {"Origin": appOrigin}} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				for range 2 { // the second time from memory
					var heads []http.Header
					var texts []string
					for _, how := range []string{"map", "lines"} {
						req, err := http.NewRequestWithContext(t.Context(), method, served[how].URL+target, nil)
						if err != nil {
							t.Fatal(err)
						}
						req.Header.Set("Authorization", "Bearer "+readerToken)
						for name, value := range more {
							req.Header.Set(name, value)
						}
						res, err := http.DefaultTransport.RoundTrip(req)
						if err != nil {
							t.Fatal(err)
						}
						body, err := io.ReadAll(res.Body)
						if err != nil {
							t.Fatal(err)
						}
						_ = res.Body.Close()
						res.Header.Set("Status", res.Status)
						res.Header.Del("Date")
						heads, texts = append(heads, res.Header), append(texts, string(body))
					}
					if !maps.EqualFunc(heads[0], heads[1], slices.Equal[[]string]) || texts[0] != texts[1] {
						t.Errorf("%s %s %v:\n%v\n%v\n%.100s\n%.100s", method, target, more, heads[0], heads[1], texts[0], texts[1])
					}
				}
			}
		}
	}
}
