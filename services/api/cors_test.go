package api_test

import (
	"strings"
	"testing"
)

func TestCORS(t *testing.T) {
	h := newHarness(t)
	h.put("pub:a", "one", "1")
	h.put("inbox:7", "one", "1")
	const evil = "https://evil.example"
	const exposed = "Doorbell-Cursor, Doorbell-Poll-After, Doorbell-Pull, ETag, Retry-After"
	w := "Bearer " + writerToken
	for _, tc := range []struct {
		name, method, target, body string
		origin, token              string
		status                     int
		allow, expose, vary        string
	}{
		// Answers of public feeds are the same whoever asks.
		{"public, no origin", "GET", "/v1/feeds/pub:a", "", "", "", 200, "*", exposed, "Accept-Encoding"},
		{"public, any origin", "GET", "/v1/feeds/pub:a", "", evil, "", 200, "*", exposed, "Accept-Encoding"},
		{"public, app", "GET", "/v1/feeds/pub:a/changes", "", appOrigin, "", 200, "*", exposed, "Accept-Encoding"},
		{"public, null origin", "GET", "/v1/feeds/pub:a/items/one", "", "null", "", 200, "*", exposed, "Accept-Encoding"},
		{"public, missing", "GET", "/v1/feeds/pub:none", "", evil, "", 404, "*", exposed, "Accept-Encoding"},
		{"public, reset", "GET", "/v1/feeds/pub:a/changes?since=99", "", "", "", 410, "*", exposed, "Accept-Encoding"},
		{"public, bad", "GET", "/v1/feeds/pub:a?limit=0", "", evil, "", 400, "*", exposed, "Accept-Encoding"},
		{"bad name", "GET", "/v1/feeds/NO", "", evil, "", 400, "*", exposed, "Accept-Encoding"},
		{"heads of public feeds", "GET", "/v1/heads?feed=pub:a", "", evil, "", 200, "*", exposed, "Accept-Encoding"},
		{"heads of public feeds", "POST", "/v1/heads", `{"feeds":["pub:a"]}`, evil, "", 200, "*", exposed, "Accept-Encoding"},
		// Private ones are for configured origins.
		{"private, app", "GET", "/v1/feeds/inbox:7", "", appOrigin, w, 200, appOrigin, exposed, "Authorization, Origin, Accept-Encoding"},
		{"private, other", "GET", "/v1/feeds/inbox:7", "", evil, w, 200, "", "", "Authorization, Origin, Accept-Encoding"},
		{"private, none", "GET", "/v1/feeds/inbox:7", "", "", w, 200, "", "", "Authorization, Origin, Accept-Encoding"},
		{"private, no token", "GET", "/v1/feeds/inbox:7", "", appOrigin, "", 401, appOrigin, exposed, "Authorization, Origin, Accept-Encoding"},
		{"private heads, app", "GET", "/v1/heads?feed=pub:a&feed=inbox:7", "", appOrigin, w, 200, appOrigin, exposed, "Authorization, Origin, Accept-Encoding"},
		{"private heads, other", "GET", "/v1/heads?feed=pub:a&feed=inbox:7", "", evil, w, 200, "", "", "Authorization, Origin, Accept-Encoding"},
		// Writes.
		{"write, app", "POST", "/v1/feeds/pub:a/touch", "", appOrigin, w, 200, appOrigin, exposed, "Origin"},
		{"write, app in capitals", "POST", "/v1/feeds/pub:a/touch", "", "HTTPS://App.Example.COM:443", w, 200, "HTTPS://App.Example.COM:443", exposed, "Origin"},
		{"write, same origin", "POST", "/v1/feeds/pub:a/touch", "", "https://example.com", w, 200, "https://example.com", exposed, "Origin"},
		{"write, same origin", "POST", "/v1/feeds/pub:a/touch", "", "http://example.com", w, 200, "http://example.com", exposed, "Origin"},
		{"write, no page", "POST", "/v1/feeds/pub:a/touch", "", "", w, 200, "", "", "Origin"},
		{"write, other", "POST", "/v1/feeds/pub:a/touch", "", evil, w, 403, "", "", "Origin"},
		{"write, other port", "POST", "/v1/feeds/pub:a/touch", "", "http://example.com:8080", w, 403, "", "", "Origin"},
		{"write, null", "POST", "/v1/feeds/pub:a/touch", "", "null", w, 403, "", "", "Origin"},
		{"write, suffix", "POST", "/v1/feeds/pub:a/touch", "", "https://example.com.evil.example", w, 403, "", "", "Origin"},
		{"write, user", "POST", "/v1/feeds/pub:a/touch", "", "https://example.com@evil.example", w, 403, "", "", "Origin"},
		{"put, other", "PUT", "/v1/feeds/pub:a/items/one", "2", evil, w, 403, "", "", "Origin"},
		{"delete, other", "DELETE", "/v1/feeds/pub:a/items/one", "", evil, w, 403, "", "", "Origin"},
		{"drop, other", "DELETE", "/v1/feeds/pub:a", "", evil, w, 403, "", "", "Origin"},
		{"batch, other", "POST", "/v1/feeds/pub:a/changes", `{"changes":[{"key":"a","value":1}]}`, evil, w, 403, "", "", "Origin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := *h
			h.T = t
			before := h.head("pub:a")
			headers := header{}
			if tc.origin != "" {
				headers["Origin"] = tc.origin
			}
			if tc.token != "" {
				headers["Authorization"] = tc.token
			}
			a := h.do(tc.method, tc.target, tc.body, headers)
			h.wantStatus(a, tc.status)
			h.wantHeader(a, "Access-Control-Allow-Origin", tc.allow)
			h.wantHeader(a, "Access-Control-Expose-Headers", tc.expose)
			h.wantHeader(a, "Vary", tc.vary)
			if tc.status == 403 {
				h.wantProblem(a, 403, "forbidden_origin")
				if h.head("pub:a") != before {
					t.Error("it was written all the same")
				}
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	h := newHarness(t)
	const evil = "https://evil.example"
	for _, tc := range []struct {
		target, origin, method string
		status                 int
		allow, methods         string
	}{
		{"/v1/feeds/pub:a", evil, "GET", 204, "*", "GET, HEAD"},
		{"/v1/feeds/pub:a/changes", evil, "GET", 204, "*", "GET, HEAD"},
		{"/v1/feeds/pub:a/changes", evil, "POST", 403, "", ""},
		{"/v1/feeds/pub:a/changes", appOrigin, "POST", 204, appOrigin, "GET, HEAD, OPTIONS, POST"},
		{"/v1/feeds/pub:a/items/one", appOrigin, "PUT", 204, appOrigin, "DELETE, GET, HEAD, OPTIONS, PUT"},
		{"/v1/feeds/pub:a/items/one", evil, "PUT", 403, "", ""},
		{"/v1/feeds/pub:a/touch", evil, "POST", 403, "", ""},
		{"/v1/feeds/pub:a", evil, "DELETE", 403, "", ""},
		{"/v1/feeds/inbox:7", evil, "GET", 403, "", ""},
		{"/v1/feeds/inbox:7", "null", "GET", 403, "", ""},
		{"/v1/feeds/inbox:7", appOrigin, "GET", 204, appOrigin, "DELETE, GET, HEAD, OPTIONS"},
		{"/v1/heads", evil, "POST", 204, "*", "GET, OPTIONS, POST"},
		{"/v1/feeds/pub:a", evil, "PATCH", 405, "", ""},
		{"/v1/feeds/pub:a", "", "", 204, "", ""}, // not a preflight
		{"/v1/nope", evil, "GET", 404, "", ""},
	} {
		headers := header{}
		if tc.origin != "" {
			headers = header{"Origin": tc.origin, "Access-Control-Request-Method": tc.method, "Access-Control-Request-Headers": "authorization"}
		}
		a := h.do("OPTIONS", tc.target, "", headers)
		if a.StatusCode != tc.status {
			t.Errorf("%+v: %d %s", tc, a.StatusCode, a.body)
			continue
		}
		h.wantHeader(a, "Access-Control-Allow-Origin", tc.allow)
		h.wantHeader(a, "Access-Control-Allow-Methods", tc.methods)
		if tc.allow != "" {
			h.wantHeader(a, "Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key")
			h.wantHeader(a, "Access-Control-Max-Age", "7200")
		}
		if tc.status != 404 && !strings.Contains(a.Header.Get("Vary"), "Origin") {
			t.Errorf("%+v: Vary is %q", tc, a.Header.Get("Vary"))
		}
	}
}
