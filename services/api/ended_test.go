package api_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// fleeting is an Authenticator of one token, which ends after five seconds or when it is taken back.
type fleeting struct {
	p *auth.Principal

	mu      sync.Mutex
	refused bool // guarded by mu, as all below
	revoked bool
	changed chan struct{}
}

func newFleeting(t *testing.T) *fleeting {
	t.Helper()
	p, err := auth.NewPrincipal("ann", auth.Scopes{Read: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	p.Expires = time.Now().Add(5 * time.Second)
	return &fleeting{p: p, changed: make(chan struct{})}
}

func (f *fleeting) Authenticate(context.Context, string) (*auth.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused || f.revoked || !time.Now().Before(f.p.Expires) {
		return nil, auth.ErrInvalid
	}
	return f.p, nil
}

func (f *fleeting) Revoked(*auth.Principal) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revoked
}

func (f *fleeting) Changed() <-chan struct{} { return f.changed }

func (f *fleeting) revoke() {
	f.mu.Lock()
	f.revoked = true
	f.mu.Unlock()
	close(f.changed)
}

func (f *fleeting) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = true
}

// TestWaitingEndsWithTheToken: what is private doesn't go out to who could read it only when the wait began, also where
// limits have looked at the token already.
func TestWaitingEndsWithTheToken(t *testing.T) {
	for _, tc := range []struct {
		what    string
		after   time.Duration // the wait's end
		meddle  func(h *harness, f *fleeting)
		options []option
	}{
		{"expired", 5 * time.Second, func(*harness, *fleeting) {}, nil},
		{"expired, with limits", 5 * time.Second, func(*harness, *fleeting) {}, []option{limited}},
		{"revoked", 2 * time.Second, func(_ *harness, f *fleeting) { f.revoke() }, nil},
		{"revoked, with limits", 2 * time.Second, func(_ *harness, f *fleeting) { f.revoke() }, []option{limited}},
		{"not taken any more when news come", 2 * time.Second, func(h *harness, f *fleeting) {
			f.refuse()
			h.appendDirectly("inbox:7", "two", "2")
			h.publish("inbox:7")
		}, []option{limited}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleeting(t)
				h := newHarness(t, append(tc.options, func(o *api.Options) { o.Auth = f })...)
				head := h.appendDirectly("inbox:7", "one", "1").String()
				begin := time.Now()
				var one, many answer
				var wg sync.WaitGroup
				wg.Go(func() {
					one = h.get("/v1/feeds/inbox:7/changes?since="+head+"&wait=20", bearer("anns"))
					if took := time.Since(begin); took != tc.after {
						t.Errorf("the long poll took %s; want %s", took, tc.after)
					}
				})
				wg.Go(func() {
					many = h.do("POST", "/v1/poll", `{"feeds":{"inbox:7":"`+head+`"},"wait":"20s"}`, bearer("anns"))
				})
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if n := h.api.Polling(); n != 2 {
					t.Fatalf("%d wait; want 2", n)
				}
				tc.meddle(h, f)
				wg.Wait()
				h.wantProblem(one, 401, "unauthorized")
				h.wantStatus(many, 200)
				if p, ok := many.object(h)["feeds"].(map[string]any)["inbox:7"].(map[string]any); !ok || p["status"] != 401.0 {
					t.Errorf("the poll of many: %s", many.body)
				}
			})
		})
	}
}

// TestAnUndecidedFeedEndsAPoll: who waited for it would hear of nothing.
func TestAnUndecidedFeedEndsAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(o *api.Options) { o.Auth = failing{auth.ErrUnavailable} })
		begin := time.Now()
		a := h.do("POST", "/v1/poll", `{"feeds":{"inbox:8":""},"wait":"20s"}`, bearer(readerToken))
		h.wantWait(begin, 0)
		if one, ok := a.object(h)["feeds"].(map[string]any)["inbox:8"].(map[string]any); !ok || one["status"] != 503.0 {
			t.Errorf("%s", a.body)
		}
	})
}
