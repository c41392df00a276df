package api_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// circle is an Authorizer that gives one verdict about "circle:friends", beside the tokens that it is made of.
type circle struct {
	auth.Authenticator

	verdict atomic.Int32
	away    atomic.Bool // nobody can tell whose tokens are
}

func (c *circle) Authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	if c.away.Load() {
		return nil, auth.ErrUnavailable
	}
	return c.Authenticator.Authenticate(ctx, token)
}

func (c *circle) Authorize(_ context.Context, _ *auth.Principal, _ auth.Action, names []feed.Name) []auth.Verdict {
	verdicts := make([]auth.Verdict, len(names))
	for i, name := range names {
		if name == "circle:friends" {
			verdicts[i] = auth.Verdict(c.verdict.Load())
		}
	}
	return verdicts
}

func TestTheApplicationIsAskedWherePatternsDoNotSay(t *testing.T) {
	c := new(circle)
	h := newHarness(t, func(o *api.Options) {
		authorize := policy.Default()
		authorize.Authorize = true
		c.Authenticator = o.Auth
		o.Auth, o.Policies = c, policy.NewSet(policy.Default(), map[string]policy.Namespace{"circle": authorize})
	})
	h.put("circle:friends", "one", "1")
	h.put("inbox:8", "one", "1")
	token := header{"Authorization": "Bearer " + readerToken}
	for _, step := range []struct {
		verdict auth.Verdict
		status  int
		code    string
	}{
		{auth.Forbidden, 403, "forbidden"}, {auth.Allowed, 200, ""}, {auth.Unknown, 503, "unavailable"},
	} {
		c.verdict.Store(int32(step.verdict))
		for _, r := range []*http.Request{
			h.request("GET", "/v1/feeds/circle:friends", "", token),
			h.request("GET", "/v1/feeds/circle:friends/items/one", "", token),
			h.request("GET", "/v1/heads?feed=circle:friends&feed=inbox:7", "", token),
			h.request("PUT", "/v1/feeds/circle:friends/items/one", "1", token),
		} {
			if a := h.send(r); step.status == 200 {
				h.wantStatus(a, 200)
			} else {
				h.wantProblem(a, step.status, step.code)
			}
		}
		h.wantProblem(h.send(h.request("GET", "/v1/feeds/inbox:8", "", token)), 403, "forbidden") // another namespace's isn't asked
		h.wantProblem(h.send(h.request("GET", "/v1/feeds/circle:else", "", token)), 403, "forbidden")
		h.wantProblem(h.send(h.request("GET", "/v1/feeds/circle:friends", "")), 401, "unauthorized")
	}
	c.away.Store(true)
	h.wantProblem(h.send(h.request("GET", "/v1/feeds/inbox:7", "", token)), 503, "unavailable")
	if strings.Contains(h.log.String(), readerToken) {
		t.Error("the log holds the token")
	}
}
