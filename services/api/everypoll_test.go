package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// panicking breaks on every token.
type panicking struct{}

func (panicking) Authenticate(context.Context, string) (*auth.Principal, error) { panic("oops") }

func TestEveryAnswerToPolls(t *testing.T) {
	const body = `{"feeds":{"inbox:8":""}}`
	h := newHarness(t)
	req := h.request("POST", "/v1/poll", body)
	req.Body = struct {
		late
		closer
	}{}
	h.wantStatus(h.send(req), http.StatusRequestTimeout)
	h.wantStatus(h.do("POST", "/v1/poll", body, header{"Content-Type": "text/plain"}), http.StatusUnsupportedMediaType)
	broken := newHarness(t, func(o *api.Options) { o.Auth = panicking{} })
	broken.wantStatus(broken.do("POST", "/v1/poll", body, bearer(readerToken)), http.StatusInternalServerError)
	// What fails of one feed is in its place.
	failed := newHarness(t, func(o *api.Options) { o.Auth = failing{auth.ErrUnavailable} })
	a := failed.do("POST", "/v1/poll", body, bearer(readerToken))
	failed.wantStatus(a, http.StatusOK)
	if one, ok := a.object(failed)["feeds"].(map[string]any)["inbox:8"].(map[string]any); !ok || one["status"] != 503.0 {
		t.Errorf("%s", a.body)
	}
	limits := newHarness(t, limited, func(o *api.Options) { o.Limits.Polls = api.Limit{PerSecond: 0.01, Burst: 2} })
	for range 2 {
		limits.wantStatus(limits.from(here, "POST", "/v1/poll", body), http.StatusOK)
	}
	limits.wantStatus(limits.from(here, "POST", "/v1/poll", body), http.StatusTooManyRequests)
}
