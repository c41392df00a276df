package doorbell

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a server that gives one answer after the other.
type answers struct {
	give []func(*http.Request) (*http.Response, error)
	keys []string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.keys = append(a.keys, r.Header.Get("Idempotency-Key"))
	next := a.give[0]
	a.give = a.give[1:]
	return next(r)
}

func broken(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func status(code int, body string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func TestOnce(t *testing.T) {
	const running = `{"code":"idempotency_key_running"}`
	ok := status(200, `{"cursor":"0k00001-1","first":1}`)
	for _, test := range []struct {
		what string
		give []func(*http.Request) (*http.Response, error)
		opts []WriteOption
		fail bool
		sent int
	}{
		{"a broken connection", []func(*http.Request) (*http.Response, error){broken, status(409, running), status(503, ""), ok}, []WriteOption{Once("k")}, false, 4},
		{"a server that stays broken", []func(*http.Request) (*http.Response, error){broken, broken, broken, broken}, []WriteOption{Once("k")}, true, 4},
		{"a refusal", []func(*http.Request) (*http.Response, error){status(412, `{"code":"precondition_failed"}`)}, []WriteOption{Once("k")}, true, 1},
		{"another conflict", []func(*http.Request) (*http.Response, error){status(409, ``)}, []WriteOption{Once("k")}, true, 1},
		{"a write without a name", []func(*http.Request) (*http.Response, error){broken}, nil, true, 1},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &answers{give: test.give}
				c, err := New("http://doorbell.test", WithHTTPClient(&http.Client{Transport: server}))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err = c.Touch(t.Context(), feedX, test.opts...)
				if (err != nil) != test.fail || len(server.keys) != test.sent {
					t.Errorf("sent %d times, %v", len(server.keys), err)
				}
				for _, k := range server.keys {
					if test.opts != nil && k != "k" {
						t.Errorf("the key was %q", k)
					}
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
