package api_test

import (
	"net/http"
	"strings"
	"testing"

	api "github.com/doorbell-sync/doorbell/services/api"
)

// everyWrite are all writes, with the body and condition each needs.
func everyWrite(h *harness, name string) []*http.Request {
	ifMatch := header{"If-Match": `"` + h.head(name).String() + `"`}
	base := "/v1/feeds/" + name
	return []*http.Request{
		h.request("PUT", base+"/items/one", "2"),
		h.request("DELETE", base+"/items/one", ""),
		h.request("POST", base+"/changes", `{"changes":[{"key":"a","value":1}]}`),
		h.request("POST", base+"/touch", ""),
		h.request("DELETE", base, "", ifMatch),
	}
}

func TestScopes(t *testing.T) {
	h := newHarness(t)
	for _, name := range []string{"pub:a", "pub:mine", "inbox:7", "inbox:8"} {
		h.put(name, "one", "1")
	}
	const none = ""
	for _, tc := range []struct {
		name, authorization string
		read, write, drop   string // the code, or ""
		challenge           string
	}{
		{"pub:a", none, "", "unauthorized", "unauthorized", "Bearer"},
		{"pub:a", "Bearer nonsense", "", "unauthorized", "unauthorized", `Bearer error="invalid_token"`},
		{"pub:a", "Bearer", "", "unauthorized", "unauthorized", `Bearer error="invalid_request"`},
		{"pub:a", "Basic dTpw", "", "unauthorized", "unauthorized", `Bearer error="invalid_request"`},
		{"pub:a", "Bearer " + readerToken, "", "forbidden", "forbidden", ""},
		{"pub:mine", "Bearer " + readerToken, "", "", "forbidden", ""},
		{"inbox:7", none, "unauthorized", "unauthorized", "unauthorized", "Bearer"},
		{"inbox:7", "Bearer nonsense", "unauthorized", "unauthorized", "unauthorized", `Bearer error="invalid_token"`},
		{"inbox:7", "bearer  " + readerToken, "", "forbidden", "forbidden", ""},
		{"inbox:8", "Bearer " + readerToken, "forbidden", "forbidden", "forbidden", ""},
		{"inbox:8", "Bearer " + writerToken, "", "", "", ""},
		{"pub:a", "Bearer " + writerToken, "", "", "", ""},
	} {
		t.Run(tc.name+" "+tc.authorization, func(t *testing.T) {
			h := *h
			h.T = t
			auth := header{"Authorization": tc.authorization}
			check := func(a answer, code string) {
				t.Helper()
				if code == "" {
					h.wantStatus(a, 200)
					return
				}
				status := map[string]int{"unauthorized": 401, "forbidden": 403}[code]
				h.wantProblem(a, status, code)
				if status == 401 {
					h.wantHeader(a, "WWW-Authenticate", tc.challenge)
				}
			}
			h.put(tc.name, "one", "1")
			for _, path := range []string{"", "/changes?since=0", "/items/one"} {
				check(h.get("/v1/feeds/"+tc.name+path, auth), tc.read)
			}
			if !strings.HasPrefix(tc.name, "pub") { // whether a feed exists is private, too
				a, b := h.get("/v1/feeds/"+tc.name, auth), h.get("/v1/feeds/"+tc.name+"x", auth)
				if tc.read == "unauthorized" && a.body != b.body {
					t.Errorf("%s\n%s", a.body, b.body)
				}
			}
			for i := range 5 {
				before := h.head(tc.name)
				req := everyWrite(&h, tc.name)[i]
				if tc.authorization != "" {
					req.Header.Set("Authorization", tc.authorization)
				}
				code := tc.write
				if i == 4 {
					code = tc.drop
				}
				check(h.send(req), code)
				if changed := h.head(tc.name) != before; changed != (code == "") {
					t.Errorf("%s %s changed something: %v", req.Method, req.URL, changed)
				}
			}
		})
	}
}

func TestWithoutAuthenticator(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.Auth = nil })
	h.wantProblem(h.get("/v1/feeds/inbox:7", bearer(writerToken)), 401, "unauthorized")
	h.wantProblem(h.do("POST", "/v1/feeds/pub:a/touch", "", bearer(writerToken)), 401, "unauthorized")
	h.wantProblem(h.get("/v1/feeds/pub:a"), 404, "no_feed")
}

func TestOpenWrites(t *testing.T) {
	for _, tc := range []struct {
		name    string
		remote  string
		host    string
		proxies []string
		headers header
		open    bool
	}{
		{name: "loopback", remote: "127.0.0.1:4711", host: "localhost:8080", open: true},
		{name: "by address", remote: "127.0.0.1:4711", host: "127.0.0.1:8080", open: true},
		{name: "IPv6", remote: "[::1]:4711", host: "[::1]:8080", open: true},
		{name: "IPv6 without port", remote: "[::1]:4711", host: "[::1]", open: true},
		{name: "IPv4 in IPv6", remote: "[::ffff:127.0.0.1]:4711", host: "LOCALHOST", open: true},
		{name: "from elsewhere", remote: "192.0.2.7:4711", host: "localhost:8080"},
		{name: "a name that leads here", remote: "127.0.0.1:4711", host: "evil.example:8080"},
		{name: "a name that looks like it", remote: "127.0.0.1:4711", host: "localhost.evil.example"},
		{name: "an address that isn't", remote: "127.0.0.1:4711", host: "192.0.2.1:8080"},
		{name: "no host", remote: "127.0.0.1:4711", host: ""},
		{name: "says it is loopback", remote: "192.0.2.7:4711", host: "localhost", headers: header{"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1"}},
		{name: "through a proxy that nobody trusts", remote: "127.0.0.1:4711", host: "localhost", headers: header{"X-Forwarded-For": "192.0.2.7"}},
		{name: "through one that hides its client", remote: "127.0.0.1:4711", host: "127.0.0.1:8080", headers: header{"Via": "1.1 proxy"}},
		{name: "a trusted proxy for somebody else", remote: "127.0.0.1:4711", host: "localhost", proxies: []string{"127.0.0.1"}, headers: header{"X-Forwarded-For": "192.0.2.7"}},
		{name: "a trusted proxy for who knows whom", remote: "127.0.0.1:4711", host: "localhost", proxies: []string{"127.0.0.1"}, headers: header{"X-Forwarded-For": "8.8.8.8:4711"}},
		{name: "a trusted proxy for this machine", remote: "10.0.0.5:4711", host: "localhost", proxies: []string{"10.0.0.0/8"}, headers: header{"X-Forwarded-For": "127.0.0.1"}, open: true},
		{name: "a trusted proxy, asked by another name", remote: "127.0.0.1:4711", host: "localhost", proxies: []string{"127.0.0.1"}, headers: header{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "evil.example"}},
		{name: "a foreign page", remote: "127.0.0.1:4711", host: "localhost:8080", headers: header{"Origin": "https://evil.example"}},
		{name: "a page of this machine, other port", remote: "127.0.0.1:4711", host: "localhost:8080", headers: header{"Origin": "http://localhost:3000"}},
		{name: "the own page", remote: "127.0.0.1:4711", host: "localhost:8080", headers: header{"Origin": "http://localhost:8080"}, open: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, func(o *api.Options) { o.OpenWrites, o.Auth, o.TrustedProxies = true, nil, tc.proxies })
			h.appendDirectly("pub:a", "one", "1")
			for i := range 5 {
				before := h.head("pub:a")
				req := everyWrite(h, "pub:a")[i]
				req.RemoteAddr, req.Host = tc.remote, tc.host
				for name, value := range tc.headers {
					req.Header.Set(name, value)
				}
				a := h.send(req)
				if (a.StatusCode == http.StatusOK) != tc.open || (h.head("pub:a") != before) != tc.open {
					t.Errorf("%s %s: %d %s", req.Method, req.URL, a.StatusCode, a.body)
				}
			}
		})
	}
	t.Run("not without the option", func(t *testing.T) {
		h := newHarness(t, func(o *api.Options) { o.Auth = nil })
		req := h.request("POST", "/v1/feeds/pub:a/touch", "")
		req.RemoteAddr, req.Host = "127.0.0.1:4711", "localhost"
		h.wantProblem(h.send(req), 401, "unauthorized")
	})
}

func TestSameOriginBehindTrustedProxy(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.TrustedProxies = []string{"192.0.2.1"} }) // httptest's client
	forwarded := header{"Origin": "https://shop.example", "X-Forwarded-Host": "shop.example", "Host": "api.internal"}
	h.wantStatus(h.do("POST", "/v1/feeds/pub:a/touch", "", forwarded, bearer(writerToken)), 200)
	h = newHarness(t)
	h.wantProblem(h.do("POST", "/v1/feeds/pub:a/touch", "", forwarded, bearer(writerToken)), 403, "forbidden_origin")
}

func TestBadOptions(t *testing.T) {
	if _, err := api.New(api.Options{}); err == nil || !strings.Contains(err.Error(), "store") || !strings.Contains(err.Error(), "bus") || !strings.Contains(err.Error(), "policies") {
		t.Errorf("%v", err)
	}
	h := newHarness(t)
	for _, origin := range []string{"*", "null", "app.example.com", "https://app.example.com/", "x.example", "https://", "https://u@x"} {
		if _, err := api.New(api.Options{Store: h.store, Bus: h.bus, Policies: testPolicies(), AllowedOrigins: []string{origin}}); err == nil {
			t.Errorf("the origin %q was accepted", origin)
		}
	}
	for _, proxy := range []string{"localhost", "10.0.0.0/99", ""} {
		if _, err := api.New(api.Options{Store: h.store, Bus: h.bus, Policies: testPolicies(), TrustedProxies: []string{proxy}}); err == nil {
			t.Errorf("the proxy %q was accepted", proxy)
		}
	}
}
