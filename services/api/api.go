// Package api serves Doorbell's feeds over HTTP: snapshots and deltas that caches love, and the writes.
//
//	a, err := api.New(api.Options{Store: st, Bus: b, Policies: policies, Auth: keys})
//	srv := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
//	…
//	srv.Shutdown(ctx); a.Close() // in this order; then the bus, then the store
//
// The protocol is what docs call "HTTP: the API service". The host owns the listener, TLS, header limits and the
// logging of requests. It has to hand over paths as they came: an http.ServeMux in front would clean and redirect them.
package api

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/rest"
)

// Store is what the API needs of the store.
type Store interface {
	store.Reader
	store.Writer
}

// Options says what the API serves and to whom. Store, Bus and Policies are required.
type Options struct {
	Store Store
	// Bus gets the signals of writes; its heads answer 304s and /v1/heads, its signals end waiting for at_least.
	Bus      bus.Bus
	Policies *policy.Set
	// Auth knows the tokens. nil: none is valid, so private feeds can't be read, nor any be written but by OpenWrites.
	Auth auth.Authenticator
	// OpenWrites lets everybody on this machine write and drop without a token: the client's address is a loopback one (as
	// far as trusted proxies tell), and the Host that it asked for is one too. For development without keys.
	OpenWrites bool
	// AllowedOrigins are the origins, such as "https://app.example.com", whose pages may write and read private feeds.
	// Pages of the API's own origin may always.
	AllowedOrigins []string
	// TrustedProxies are addresses and CIDRs whose X-Forwarded-* headers count. None by default.
	TrustedProxies []string
	// Logger gets what clients are not told. nil: slog.Default().
	Logger *slog.Logger

	// AtLeastWait is how long a read waits until the store covers its at_least. 0: 2 s.
	AtLeastWait time.Duration
	// MaxWaiting is how many reads may do that at once; further ones get 503 at once. 0: 10,000.
	MaxWaiting int
	// HeadsWait is how long /v1/heads waits for heads that the bus has to ask for. 0: 500 ms.
	HeadsWait time.Duration
	// BodyTimeout is how long a request's body may take. 0: 30 s.
	BodyTimeout time.Duration
	// StallTimeout is how long a client may take each 64 KiB of a large answer. 0: 30 s. For small ones the host's
	// WriteTimeout holds.
	StallTimeout time.Duration
	// ReadTimeout and WriteTimeout bound one call of the store, PublishTimeout one of the bus after a write, which goes on
	// when the client leaves. 0: 5 s, 10 s, 2 s.
	ReadTimeout    time.Duration
	WriteTimeout   time.Duration
	PublishTimeout time.Duration

	// Limits are how much one client may ask for.
	Limits Limits
}

// Limits are how much one client may ask for; the zero Limits are none.
type Limits = rest.Limits

// Limit is so many requests a second in the long run, and so many at once.
type Limit = rest.Limit

// API is the service. It is safe for concurrent use.
type API struct {
	server *rest.Server
}

// New makes an API, which serves as soon as its Handler is mounted. Close ends it. The error joins everything that is
// wrong with the options.
func New(opts Options) (*API, error) {
	var errs []error
	if opts.Store == nil {
		errs = append(errs, errors.New("api: no store"))
	}
	if opts.Bus == nil {
		errs = append(errs, errors.New("api: no bus"))
	}
	if opts.Policies == nil {
		errs = append(errs, errors.New("api: no policies"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	server, err := rest.New(rest.Options{
		Store:          opts.Store,
		Bus:            opts.Bus,
		Policies:       opts.Policies,
		Auth:           opts.Auth,
		OpenWrites:     opts.OpenWrites,
		AllowedOrigins: opts.AllowedOrigins,
		TrustedProxies: opts.TrustedProxies,
		Logger:         cmp.Or(opts.Logger, slog.Default()),
		AtLeastWait:    cmp.Or(opts.AtLeastWait, 2*time.Second),
		MaxWaiting:     cmp.Or(opts.MaxWaiting, 10_000),
		HeadsWait:      cmp.Or(opts.HeadsWait, 500*time.Millisecond),
		BodyTimeout:    cmp.Or(opts.BodyTimeout, 30*time.Second),
		StallTimeout:   cmp.Or(opts.StallTimeout, 30*time.Second),
		ReadTimeout:    cmp.Or(opts.ReadTimeout, 5*time.Second),
		WriteTimeout:   cmp.Or(opts.WriteTimeout, 10*time.Second),
		PublishTimeout: cmp.Or(opts.PublishTimeout, 2*time.Second),
		Limits:         opts.Limits,
	})
	if err != nil {
		return nil, err
	}
	return &API{server: server}, nil
}

// Handler serves everything below /v1/ that is the API's. What isn't gets 404 as a problem.
func (a *API) Handler() http.Handler { return a.server.Handler() }

// Waiting is how many reads wait for the store to come up to their at_least.
func (a *API) Waiting() int { return a.server.Waiting() }

// Close answers waiting reads with 503 and ends what runs behind the scenes. Requests may still come; those that would
// have to wait get 503. It neither waits for requests (that is the host's) nor closes the store or the bus. Closing
// twice is fine.
func (a *API) Close() { a.server.Close() }
