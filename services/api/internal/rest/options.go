package rest

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/tracing"
)

// Store is what the API needs of the store.
type Store interface {
	store.Reader
	store.Writer
}

// Options says what the API serves and to whom. Store, Bus and Policies are required.
type Options struct {
	Store Store
	// Bus gets the signals of writes; its signals tell which answers in memory are the newest, and end waiting.
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

	// Metrics is where the metrics go. nil: nowhere.
	Metrics prometheus.Registerer

	// Traces begins the spans of requests that are traced. nil: none is.
	Traces tracing.Begin

	// DatabaseCalls is how many calls of the store may be under way at once, as many as its pool has connections; some more
	// wait for up to a second, the rest gets 503. 0: 16.
	DatabaseCalls int
	// CacheBytes is about how much memory the feeds that are read at the moment may take. 0: 64 MiB.
	CacheBytes int
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

	// Limits are how much one client may ask for; the zero Limits are none.
	Limits Limits
}

func (o Options) withDefaults() Options {
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.DatabaseCalls = cmp.Or(o.DatabaseCalls, 16)
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	o.CacheBytes = cmp.Or(o.CacheBytes, 64<<20)
	o.AtLeastWait = cmp.Or(o.AtLeastWait, 2*time.Second)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 10_000)
	o.HeadsWait = cmp.Or(o.HeadsWait, 500*time.Millisecond)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	o.StallTimeout = cmp.Or(o.StallTimeout, 30*time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 5*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	o.PublishTimeout = cmp.Or(o.PublishTimeout, 2*time.Second)
	return o
}

func (o Options) validate() error {
	var errs []error
	if o.Store == nil {
		errs = append(errs, errors.New("no store"))
	}
	if o.Bus == nil {
		errs = append(errs, errors.New("no bus"))
	}
	if o.Policies == nil {
		errs = append(errs, errors.New("no policies"))
	}
	return errors.Join(errs...)
}
