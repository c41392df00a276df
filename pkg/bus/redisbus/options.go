package redisbus

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	defaultConnections  = 4
	defaultProbeEvery   = time.Second
	defaultTimeout      = time.Second
	defaultLostAfter    = 3 * time.Second
	defaultAskWait      = 250 * time.Millisecond
	defaultRereadEvery  = time.Minute
	defaultAskAgain     = 5 * time.Second
	defaultPrefix       = "doorbell"
	connectionsAtMost   = 64
	commandsAtOnce      = 16 // connections for commands
	reconnectAtFirst    = 20 * time.Millisecond
	reconnectAtMostEach = 500 * time.Millisecond
	tellAfter           = 4 // failures of a line in a row before the log is told why
	// batch is the most names in one command, one question, or one hold of the mutex.
	batch = 1000
)

// Options are all optional but for URL.
type Options struct {
	// URL is redis://user:password@host:port/database, rediss:// for TLS, or unix://path. Pub/sub knows no databases:
	// two installations on one server need different prefixes.
	URL string
	// TLS is used with rediss:// in place of the system's roots. nil: those.
	TLS *tls.Config
	// Prefix begins every key and channel. "": "doorbell".
	Prefix string
	// Interval gives each feed's signal interval, which is rounded up to milliseconds. It must be the same in all
	// processes that publish. nil: no feed has one.
	Interval bus.IntervalFunc
	// Logger is told when Redis is lost and found. nil: nobody is.
	Logger *slog.Logger
	// Connections is how many pub/sub connections carry the signals, 1 to 64. 0: 4.
	Connections int

	// Timeout bounds each round trip, and how long a subscription may stay unconfirmed. 0: 1 s.
	Timeout time.Duration
	// ProbeEvery is how often each connection is asked for a sign of life; it's replaced when none has come for that long
	// and Timeout. 0: 1 s.
	ProbeEvery time.Duration
	// LostAfter is how long after the last sign of life the bus isn't alive any more. It should be longer than ProbeEvery and
	// Timeout together. 0: 3 s.
	LostAfter time.Duration
	// AskWait is how long Follow waits for heads that aren't known. 0: 250 ms.
	AskWait time.Duration
	// AskAgain is how often unknown heads of followed feeds are asked for again. 0: 5 s.
	AskAgain time.Duration
	// RereadEvery is how often the heads of all followed feeds are read without any reason. 0: 1 min.
	RereadEvery time.Duration
}

func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		of       *time.Duration
		fallback time.Duration
	}{
		{&o.Timeout, defaultTimeout}, {&o.ProbeEvery, defaultProbeEvery}, {&o.LostAfter, defaultLostAfter},
		{&o.AskWait, defaultAskWait}, {&o.AskAgain, defaultAskAgain}, {&o.RereadEvery, defaultRereadEvery},
	} {
		if *d.of <= 0 {
			*d.of = d.fallback
		}
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Connections < 1 || o.Connections > connectionsAtMost {
		return o, fmt.Errorf("redis: %d connections for signals; allowed: 1 to %d", o.Connections, connectionsAtMost)
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Interval == nil {
		o.Interval = func(feed.Name) time.Duration { return 0 }
	}
	return o, nil
}

// client makes the connections for commands, and by way of its pub/sub connections lines' lives.
func (o Options) client() (*redis.Client, error) {
	opts, err := redis.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if o.TLS != nil && opts.TLSConfig != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName = opts.TLSConfig.ServerName
		}
		opts.TLSConfig = config
	}
	// A caller is told within Timeout; whoever can try again later does so with newer heads.
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	opts.ContextTimeoutEnabled = true
	opts.PoolSize = commandsAtOnce
	// An idle connection may have died silently, and each such one costs whoever takes it a Timeout. So none idles for long.
	opts.ConnMaxIdleTime = o.ProbeEvery
	opts.PipelinePoolSize = -1 // nearly everything is a pipeline
	// RESP3's notices would move connections to other servers by themselves; nothing else here needs it.
	opts.Protocol = 2
	opts.DisableIdentity = true
	dial := redis.NewDialer(opts)
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if l, ok := ctx.Value(lifeKey{}).(*life); ok {
			return l.dial(ctx, dial, network, addr)
		}
		return dial(ctx, network, addr)
	}
	return redis.NewClient(opts), nil
}
