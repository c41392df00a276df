package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/policy"
)

// Options is what a gateway is made of. All of it is static; Bus and Policies are required.
type Options struct {
	Bus      bus.Bus
	Policies *policy.Set
	// Auth tells whose a token is. nil: no token is valid, so that only public feeds can be followed. If it is an
	// [auth.Revoker], connections end when their tokens are taken back.
	Auth auth.Authenticator
	// AllowedOrigins is the origins, beside the gateway's own, whose pages may connect: "https://app.example.com", or
	// "https://*.example.com" for all below example.com, at any depth.
	AllowedOrigins []string
	// TrustedProxies are addresses and CIDRs whose X-Forwarded-Host counts for the gateway's own origin.
	TrustedProxies []string
	// Logger is slog's default when nil. Tokens are never logged.
	Logger *slog.Logger
	// Metrics is where the gateway's are registered, until Close. nil: nobody looks.
	Metrics prometheus.Registerer
	// Tracer begins the spans of signals that come with a trace. nil: none has any.
	Tracer  trace.Tracer
	Timings Timings
	Limits  Limits
}

// Timings is how long things may take. A zero field has its default.
type Timings struct {
	// PingEvery is the mean time between the pings of a connection; each comes up to 20 % earlier or later. 25 s.
	PingEvery time.Duration
	// PongWait is how long after a ping a connection without any whole frame is dropped. 10 s.
	PongWait time.Duration
	// MessageWait is how long a command may take from its first byte to its last. 30 s.
	MessageWait time.Duration
	// Stall is how long a socket may accept no byte; a socket that accepts any may take as long as it likes. A dead one is
	// noticed an eighth later at most. 40 s.
	Stall time.Duration
	// CloseWait is how long a socket is kept for the close handshake. 5 s.
	CloseWait time.Duration
	// FollowTimeout is how long the bus may take to follow feeds before they are answered as not known. 3 s.
	FollowTimeout time.Duration
	// RetryMin and RetryMax bound the pause before feeds that the bus refused are tried again. 250 ms and 5 s.
	RetryMin, RetryMax time.Duration
	// Linger is how long a feed is followed after its last client has left. 5 s.
	Linger time.Duration
	// DrainWindow is the time over which clients are asked to go when the gateway drains. 0, the default: all are closed at
	// once.
	DrainWindow time.Duration
	// MaxAge is how old a connection becomes, up to 20 % more or less, before its client is asked to reconnect, so that new nodes
	// fill. 0, the default: any age.
	MaxAge time.Duration
}

// Limits bounds what clients may ask for. A zero field has its default.
type Limits struct {
	// Feeds is how many one connection may follow. 10,000, the protocol's figure.
	Feeds int
	// Connections is how many this process takes; who comes beyond that is told 503. By default as many as there are file
	// descriptors, but for some that it needs itself.
	Connections int
	// PerSubject is how many connections of one subject this process takes; further ones are closed with 4029. 1,000.
	PerSubject int
	// Commands is how many one connection may send a second, and ten times as many at once; beyond that it is closed with 4029.
	// 100.
	Commands int
	// Handshakes is how many are begun a second; who comes beyond that is told 503. 10,000.
	Handshakes int
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for field, fallback := range map[*time.Duration]time.Duration{
		&o.Timings.PingEvery:     25 * time.Second,
		&o.Timings.PongWait:      10 * time.Second,
		&o.Timings.MessageWait:   30 * time.Second,
		&o.Timings.Stall:         40 * time.Second,
		&o.Timings.CloseWait:     5 * time.Second,
		&o.Timings.FollowTimeout: 3 * time.Second,
		&o.Timings.RetryMin:      250 * time.Millisecond,
		&o.Timings.RetryMax:      5 * time.Second,
		&o.Timings.Linger:        5 * time.Second,
	} {
		if *field == 0 {
			*field = fallback
		}
	}
	for field, fallback := range map[*int]int{
		&o.Limits.Feeds:       10_000,
		&o.Limits.Connections: descriptors(),
		&o.Limits.PerSubject:  1000,
		&o.Limits.Commands:    100,
		&o.Limits.Handshakes:  10_000,
	} {
		if *field == 0 {
			*field = fallback
		}
	}
	return o
}

// validate joins everything that is wrong.
func (o Options) validate() error {
	var errs []error
	if o.Bus == nil {
		errs = append(errs, errors.New("the gateway needs a bus"))
	}
	if o.Policies == nil {
		errs = append(errs, errors.New("the gateway needs policies"))
	}
	t := o.Timings
	for _, d := range []time.Duration{
		t.PingEvery, t.PongWait, t.MessageWait, t.Stall, t.CloseWait, t.FollowTimeout, t.RetryMin, t.RetryMax, t.Linger,
		t.DrainWindow, t.MaxAge,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("a timing is %s; allowed: more than 0, or 0 for the default", d))
		}
	}
	if l := o.Limits; min(l.Feeds, l.Connections, l.PerSubject, l.Commands, l.Handshakes) < 0 {
		errs = append(errs, fmt.Errorf("a limit is below 0: %+v; allowed: 1 or more, or 0 for the default", l))
	}
	return errors.Join(errs...)
}
