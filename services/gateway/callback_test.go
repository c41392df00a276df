package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// friends is an Authorizer that allows what it is told to, beside the test's keys.
type friends struct {
	keys

	mu    sync.Mutex
	say   auth.Verdict // of feeds below "circle:friends"
	asked []string
}

func (f *friends) Authorize(_ context.Context, p *auth.Principal, a auth.Action, names []feed.Name) []auth.Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	verdicts := make([]auth.Verdict, len(names))
	for i, name := range names {
		f.asked = append(f.asked, p.Subject+" "+a.String()+" "+string(name))
		if strings.HasPrefix(string(name), "circle:friends") {
			verdicts[i] = f.say
		}
	}
	return verdicts
}

func (f *friends) set(say auth.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.say = say
}

func TestTheApplicationIsAskedWherePatternsDoNotSay(t *testing.T) {
	t.Parallel()
	f := &friends{say: auth.Allowed, keys: testKeys(t).(keys)}
	h := start(t, func(o *gateway.Options) {
		public, circle := policy.Default(), policy.Default()
		public.Public, circle.Authorize = true, true
		o.Policies = policy.NewSet(policy.Default(), map[string]policy.Namespace{"orders": public, "circle": circle})
		o.Auth = f
		o.Limits.Feeds = 8
	})
	c := h.dial(alice)
	c.send(`{"id":1,"subscribe":{"circle:friends:1":"","circle:else":"","room:1":"","inbox:8":"","orders:1":""}}`)
	c.expect(`{"id":1,"subscribed":{"circle:friends:1":null,"room:1":null,"orders:1":null},"denied":{"circle:else":"forbidden","inbox:8":"forbidden"}}`)
	if got, want := strings.Join(f.asked, ", "), "alice read circle:friends:1, alice read circle:else"; got != want {
		t.Errorf("asked: %s; want %s", got, want)
	}
	f.set(auth.Unknown)
	c.send(`{"id":2,"subscribe":{"circle:friends:2":"","orders:2":""}}`)
	c.expect(`{"id":2,"subscribed":{"orders:2":null},"denied":{"circle:friends:2":"unavailable"}}`)
	c.send(`{"id":3,"auth":"` + aliceLess + `"}`) // what was allowed goes on while nobody can tell
	c.expect(`{"id":3,"denied":{}}`)
	h.publish("circle:friends:1", 1)
	c.expect(`{"changed":{"circle:friends:1":` + at(1) + `}}`)
	f.set(auth.Forbidden)
	c.send(`{"id":4,"auth":"` + alice + `"}`)
	c.expect(`{"id":4,"denied":{"circle:friends:1":"forbidden"}}`)

	f.set(auth.Allowed)
	c.send(`{"id":5,"subscribe":{"circle:friends:1":"","circle:friends:2":""}}`)
	c.expect(`{"id":5,"subscribed":{"circle:friends:1":` + at(1) + `,"circle:friends:2":null}}`)
	f.set(auth.Unknown) // takes nothing away
	c.send(`{"id":6,"subscribe":{"circle:friends:1":""}}`)
	c.expect(`{"id":6,"subscribed":{},"denied":{"circle:friends:1":"unavailable"}}`)
	h.publish("circle:friends:1", 2)
	c.expect(`{"changed":{"circle:friends:1":` + at(2) + `}}`)
	f.set(auth.Forbidden) // does
	c.send(`{"id":7,"subscribe":{"circle:friends:1":"","orders:3":""}}`)
	c.expect(`{"id":7,"subscribed":{"orders:3":null},"denied":{"circle:friends:1":"forbidden"}}`)
	h.publish("circle:friends:1", 3)
	c.expectNothing(h)

	f.set(auth.Forbidden) // even where the command as a whole is refused
	var many strings.Builder
	for n := range 7 {
		fmt.Fprintf(&many, `,"room:%d":""`, n)
	}
	c.send(`{"id":8,"subscribe":{"circle:friends:2":""` + many.String() + `}}`)
	c.expectError("8", "too_many_feeds")
	c.expect(`{"denied":{"circle:friends:2":"forbidden"}}`)

	nobody := h.dial("")
	asked := len(f.asked)
	nobody.send(`{"id":1,"subscribe":{"circle:friends:1":""}}`)
	nobody.expect(`{"id":1,"subscribed":{},"denied":{"circle:friends:1":"forbidden"}}`)
	if len(f.asked) != asked {
		t.Error("the application was asked about nobody")
	}
}
