// Package guard is what stands before a service: static keys, signed tokens, and the list of those that were taken back,
// as one Authenticator.
//
//	token ─▶ keys ─▶ signed tokens ─▶ revoked? ─▶ Principal
//	              └──────────────────────┴─▶ refused: counted and logged by reason; outside, all refusals are one
package guard

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/auth/callback"
	"github.com/doorbell-sync/doorbell/pkg/auth/jwtauth"
	"github.com/doorbell-sync/doorbell/pkg/auth/revoked"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// logEvery is how often a reason is logged at most.
const logEvery = 10 * time.Second

// Options are all optional.
type Options struct {
	// Keys are the static keys.
	Keys []auth.Key
	// Tokens says which signed tokens are good; without keys and JWKS none is. Its Logger and Metrics are those of the Guard.
	Tokens jwtauth.Options
	// Callback is asked what tokens don't say; without a URL, nobody is. Its Logger and Metrics are those of the Guard.
	Callback callback.Options
	// Bus carries revocations, when it is a Broadcaster and a Keeper. Otherwise they hold on this node alone.
	Bus bus.Bus
	// Logger is told why tokens were refused. nil: slog.Default().
	Logger *slog.Logger
	// Metrics is where metrics are registered. nil: nowhere.
	Metrics prometheus.Registerer
}

// Guard authenticates. It is safe for concurrent use.
type Guard struct {
	// static
	chain       auth.Chain
	tokens      *jwtauth.Tokens    // nil: there are none
	callback    *callback.Callback // nil: there is none
	revocations *revoked.List
	log         *slog.Logger
	refused     map[auth.Reason]*refusals
}

// refusals are those of one reason.
type refusals struct {
	total prometheus.Counter

	mu     sync.Mutex
	logged time.Time // the last time
	since  int       // how many came since then
}

var (
	_ auth.Authenticator = (*Guard)(nil)
	_ auth.Revoker       = (*Guard)(nil)
	_ auth.Authorizer    = (*Guard)(nil)
)

// New makes a Guard. Close ends it; the bus stays the caller's. The error joins all that is wrong with keys.
func New(opt Options) (*Guard, error) {
	opt.Logger = cmp.Or(opt.Logger, slog.Default())
	if opt.Metrics == nil {
		opt.Metrics = prometheus.NewRegistry()
	}
	keys, err := auth.NewKeys(opt.Keys)
	if err != nil {
		return nil, err
	}
	g := &Guard{chain: auth.Chain{keys}, log: opt.Logger}
	if len(opt.Tokens.Keys) > 0 || opt.Tokens.JWKS.URL != "" {
		opt.Tokens.Logger, opt.Tokens.Metrics = opt.Logger, opt.Metrics
		if g.tokens, err = jwtauth.New(opt.Tokens); err != nil {
			return nil, fmt.Errorf("tokens: %w", err)
		}
		g.chain = append(g.chain, g.tokens)
	}
	if opt.Callback.URL != "" {
		opt.Callback.Logger, opt.Callback.Metrics = opt.Logger, opt.Metrics
		if g.callback, err = callback.New(opt.Callback); err != nil {
			return nil, err
		}
	}
	b, _ := opt.Bus.(revoked.Bus)
	g.revocations = revoked.New(b, opt.Logger)
	g.measure(opt.Metrics)
	return g, nil
}

func (g *Guard) measure(r prometheus.Registerer) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorbell_auth_refused_total", Help: "Tokens and keys that were refused, by reason.",
	}, []string{"reason"})
	r.MustRegister(total, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "doorbell_auth_revocations", Help: "Revocations that this node remembers.",
	}, func() float64 { return float64(g.revocations.Len()) }))
	g.refused = make(map[auth.Reason]*refusals)
	for _, reason := range auth.Reasons() {
		g.refused[reason] = &refusals{total: total.WithLabelValues(string(reason))}
	}
}

// Close ends what runs behind the scenes. Closing twice is fine.
func (g *Guard) Close() error {
	if g.tokens != nil {
		g.tokens.Close()
	}
	if g.callback != nil {
		g.callback.Close()
	}
	g.revocations.Close()
	return nil
}

// Authenticate implements auth.Authenticator.
func (g *Guard) Authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	p, err := g.chain.Authenticate(ctx, token)
	if err == nil && g.Revoked(p) {
		p, err = nil, auth.Refuse(auth.Revoked)
	}
	if reason := auth.ReasonOf(err); reason != "" {
		g.refuse(ctx, reason)
	}
	return p, err
}

// refuse counts, and says why, not too often: whoever floods us with tokens is not to fill the log.
func (g *Guard) refuse(ctx context.Context, reason auth.Reason) {
	r := g.refused[reason]
	r.total.Inc()
	r.mu.Lock()
	r.since++
	n, now := r.since, time.Now()
	log := now.Sub(r.logged) >= logEvery
	if log {
		r.since, r.logged = 0, now
	}
	r.mu.Unlock()
	if log {
		g.log.InfoContext(ctx, "tokens were refused", "reason", reason, "count", n)
	}
}

// Revocations is the list.
func (g *Guard) Revocations() *revoked.List { return g.revocations }

// Revoked implements auth.Revoker.
func (g *Guard) Revoked(p *auth.Principal) bool { return g.revocations.Revoked(p) }

// Changed implements auth.Revoker.
func (g *Guard) Changed() <-chan struct{} { return g.revocations.Changed() }

// Authorize implements auth.Authorizer. Without a callback nothing is allowed beyond what tokens say.
func (g *Guard) Authorize(ctx context.Context, p *auth.Principal, a auth.Action, feeds []feed.Name) []auth.Verdict {
	if g.callback == nil {
		return make([]auth.Verdict, len(feeds))
	}
	return g.callback.Authorize(ctx, p, a, feeds)
}
