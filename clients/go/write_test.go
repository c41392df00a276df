package doorbell

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// recorder answers every request alike and keeps the last one.
type recorder struct {
	status int
	header http.Header
	answer string

	method, uri, body string
	got               http.Header
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.method, r.uri, r.body, r.got = req.Method, req.RequestURI, string(body), req.Header
	maps.Copy(w.Header(), r.header)
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.answer)
}

func record(t *testing.T, r *recorder, opts ...Option) *Client {
	t.Helper()
	if r.status == 0 {
		r.status = 200
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c, err := New(server.URL+"/base/", append(opts, WithHTTPClient(server.Client()))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWrites(t *testing.T) {
	const value = ` {"html": "<&>",  "n": 1.50, "é": "\u00e9"}`
	tests := []struct {
		name              string
		do                func(*Client) (Written, error)
		method, uri, body string
		ifMatch           string
	}{
		{"batch", func(c *Client) (Written, error) {
			return c.Write(t.Context(), "a:b", []Change{
				{Key: "k/\"1\"", Value: json.RawMessage(value), Seq: 77},
				{Key: "ключ", Deleted: true, If: new("0k00001-3")},
				{Key: "new", Value: json.RawMessage(`null`), If: new("")},
			}, IfMatch("0k00001-9"))
		}, "POST", "/base/v1/feeds/a:b/changes",
			`{"changes":[{"key":"k/\"1\"","value":` + value[1:] + `},{"key":"ключ","deleted":true,"if":"0k00001-3"},{"key":"new","value":null,"if":""}]}`,
			`"0k00001-9"`},
		{"put", func(c *Client) (Written, error) { return c.Put(t.Context(), "a", "k", json.RawMessage(value)) },
			"PUT", "/base/v1/feeds/a/items/k", value, ""},
		{"put with a slash", func(c *Client) (Written, error) {
			return c.Put(t.Context(), "a", "x/y z?#%2F+é:@", json.RawMessage(`1`), IfMatch("0k00001-1"))
		}, "PUT", "/base/v1/feeds/a/items/x%2Fy%20z%3F%23%252F+%C3%A9:@", `1`, `"0k00001-1"`},
		{"delete", func(c *Client) (Written, error) { return c.Delete(t.Context(), "a:~x@y", "//") },
			"DELETE", "/base/v1/feeds/a:~x@y/items/%2F%2F", "", ""},
		{"delete a step", func(c *Client) (Written, error) { return c.Delete(t.Context(), "a", "..") },
			"DELETE", "/base/v1/feeds/a/items/%2E%2E", "", ""},
		{"touch", func(c *Client) (Written, error) { return c.Touch(t.Context(), "a") },
			"POST", "/base/v1/feeds/a/touch", "", ""},
		{"drop", func(c *Client) (Written, error) { return c.Drop(t.Context(), "a", "0k00001-4") },
			"DELETE", "/base/v1/feeds/a", "", `"0k00001-4"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{answer: `{"cursor":"0k00001-12","first":10}`}
			w, err := test.do(record(t, r, WithKey("secret")))
			if err != nil || w != (Written{Cursor: "0k00001-12", First: 10}) {
				t.Fatal(w, err)
			}
			if r.method != test.method || r.uri != test.uri || r.body != test.body {
				t.Errorf("sent %s %s %s", r.method, r.uri, r.body)
			}
			if got := r.got.Get("If-Match"); got != test.ifMatch {
				t.Errorf("If-Match: %s", got)
			}
			if got := r.got.Get("Authorization"); got != "Bearer secret" {
				t.Errorf("Authorization: %s", got)
			}
			if got := r.got.Get("Content-Type"); (got == "application/json") != (r.body != "") {
				t.Errorf("Content-Type: %s", got)
			}
		})
	}
}

func TestWritesThatAreNotSent(t *testing.T) {
	r := &recorder{}
	c := record(t, r)
	for name, err := range map[string]error{
		"no JSON":           second(c.Put(t.Context(), "a", "k", json.RawMessage(`{`))),
		"nothing":           second(c.Put(t.Context(), "a", "k", nil)),
		"empty key":         second(c.Delete(t.Context(), "a", "")),
		"key not UTF-8":     second(c.Delete(t.Context(), "a", "\xff")),
		"feed name":         second(c.Touch(t.Context(), "a/b")),
		"batch, no value":   second(c.Write(t.Context(), "a", []Change{{Key: "k"}})),
		"batch, injected":   second(c.Write(t.Context(), "a", []Change{{Key: "k", Value: json.RawMessage(`1},{"key":"x"`)}})),
		"batch, both":       second(c.Write(t.Context(), "a", []Change{{Key: "k", Value: json.RawMessage(`1`), Deleted: true}})),
		"batch, bad key":    second(c.Write(t.Context(), "a", []Change{{Key: "\xff", Deleted: true}})),
		"feed name of read": second(c.Snapshot(t.Context(), "A", ReadOptions{})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if r.method != "" {
		t.Errorf("sent %s %s", r.method, r.uri)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWrittenWithoutABody(t *testing.T) {
	c := record(t, &recorder{status: 204, header: http.Header{"Doorbell-Cursor": {"0k00001-5"}}})
	if w, err := c.Delete(t.Context(), "a", "k"); err != nil || w.Cursor != "0k00001-5" || w.First != 0 {
		t.Fatal(w, err)
	}
}

func TestProblems(t *testing.T) {
	date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	tests := []struct {
		name       string
		r          recorder
		want       Problem
		text       string
		extra      string
		afterAbout time.Duration
	}{
		{name: "reset",
			r:    recorder{status: 410, answer: `{"type":"about:blank","title":"Gone","status":410,"code":"reset","detail":"too old","snapshot":"/v1/feeds/a?at_least=0k00001-7"}`},
			want: Problem{Code: "reset", Title: "Gone", Detail: "too old", Snapshot: "/v1/feeds/a?at_least=0k00001-7"},
			text: "doorbell: 410 reset: too old"},
		{name: "behind",
			r:    recorder{status: 503, header: http.Header{"Retry-After": {"2"}}, answer: `{"code":"behind","title":"Service Unavailable","offset":12}`},
			want: Problem{Code: "behind", Title: "Service Unavailable"}, afterAbout: 2 * time.Second, extra: "12",
			text: "doorbell: 503 behind"},
		{name: "a date",
			r:    recorder{status: 429, header: http.Header{"Retry-After": {date}}, answer: `{}`},
			want: Problem{Title: "Too Many Requests"}, afterAbout: time.Minute,
			text: "doorbell: 429 Too Many Requests"},
		{name: "a past date and odd members",
			r:    recorder{status: 429, header: http.Header{"Retry-After": {"Mon, 02 Jan 2006 15:04:05 GMT"}}, answer: `{"code":7,"offset":{}}`},
			want: Problem{Title: "Too Many Requests"}, extra: "{}",
			text: "doorbell: 429 Too Many Requests"},
		{name: "a proxy's page",
			r:    recorder{status: 502, header: http.Header{"Retry-After": {"-5"}}, answer: `<html>`},
			want: Problem{Title: "Bad Gateway"}, text: "doorbell: 502 Bad Gateway"},
		{name: "an array",
			r:    recorder{status: 400, answer: `[1]`},
			want: Problem{Title: "Bad Request"}, text: "doorbell: 400 Bad Request"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := record(t, &test.r).Touch(t.Context(), "a")
			p, ok := errors.AsType[*Problem](err)
			if !ok {
				t.Fatal(err)
			}
			if p.Status != test.r.status || p.Code != test.want.Code || p.Title != test.want.Title ||
				p.Detail != test.want.Detail || p.Snapshot != test.want.Snapshot {
				t.Errorf("got %+v", p)
			}
			if got := string(p.Extra["offset"]); got != test.extra {
				t.Errorf("extra: %q", got)
			}
			if off := p.RetryAfter - test.afterAbout; off > 2*time.Second || off < -2*time.Second {
				t.Errorf("retry after %v", p.RetryAfter)
			}
			if p.Error() != test.text {
				t.Errorf("text: %s", p.Error())
			}
			if test.want.Code != "" && !IsCode(err, test.want.Code) || IsCode(err, "other") {
				t.Error("IsCode is wrong")
			}
		})
	}
	if IsCode(nil, "") || IsCode(errTest, "") {
		t.Error("IsCode of what is no problem")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "localhost:8080", "ws://host", "http://", "http://h/?a=b", "http://h/#x", "http://h:port"} {
		if _, err := New(base); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
	if _, err := New("http://h", WithHTTPClient(nil)); err == nil {
		t.Error("no HTTP client was taken")
	}
	if _, err := New("http://h", WithGateway("nowhere")); err == nil {
		t.Error("a bad gateway was taken")
	}
}

// TestAnswersThatNoWriteGets: what a login page or another server says is not that the write happened.
func TestAnswersThatNoWriteGets(t *testing.T) {
	for _, body := range []string{"", "{}", `{"ok":true}`, "<html>", `{"first":1}`} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		client, err := New(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := client.Touch(t.Context(), "a"); err == nil {
			t.Errorf("%q was taken for %+v", body, w)
		}
		srv.Close()
	}
}
