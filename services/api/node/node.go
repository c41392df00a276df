// Package node is a process of the API service: Postgres, Redis, and the API on one address.
package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/admin"
	"github.com/doorbell-sync/doorbell/pkg/auth/guard"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/httphost"
	"github.com/doorbell-sync/doorbell/pkg/httphost/lines"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/servers/postgres"
	"github.com/doorbell-sync/doorbell/pkg/servers/redis"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	"github.com/doorbell-sync/doorbell/pkg/telemetry"
	"github.com/doorbell-sync/doorbell/services/api"
)

// Service is the command that runs a Node.
func Service() command.Service {
	return command.Service{
		Name: "api", Short: "Run the REST service: snapshots, deltas and writes",
		Database: true, Redis: true,
		New: func(c config.Config, log *slog.Logger) (command.Process, error) {
			return New(c, log, http.NotFoundHandler()), nil
		},
	}
}

// Node is one process of the API service. It serves before its database or Redis answer; /readyz says when they do.
type Node struct {
	lifecycle.Stack
	// static
	config    config.Config
	log       *slog.Logger
	server    *httphost.Server
	telemetry *telemetry.Telemetry
	drain     httphost.Drain
	admin     admin.Desk
	rest      http.Handler

	// set while starting
	traces *telemetry.Traces
	store  *gormstore.Postgres
	bus    *redisbus.Bus
	guard  *guard.Guard
	api    *api.API
}

// New makes a node of a valid configuration. rest serves what is not the API's.
func New(c config.Config, log *slog.Logger, rest http.Handler) *Node {
	n := &Node{config: c, log: log, telemetry: telemetry.New(), rest: rest, drain: httphost.Drain{Wait: c.DrainWait}}
	n.server = httphost.New(c.Listen, http.HandlerFunc(n.serve), log)
	n.server.UseTLS(c.TLS.Cert, c.TLS.Key)
	n.server.Front(lines.Listener)
	n.Add(n.telemetry.Part(c.InternalListen, log, n.Fail))
	n.Add(lifecycle.Opened("traces", &n.traces, n.openTraces))
	n.Add(lifecycle.Opened("store", &n.store, n.openStore))
	n.Add(lifecycle.Opened("bus", &n.bus, n.openBus))
	n.Add(lifecycle.Opened("guard", &n.guard, n.openGuard))
	n.Add(lifecycle.Part{Name: "api", Start: n.makeAPI, Stop: func(context.Context) error { n.api.Close(); return nil }})
	n.Add(n.admin.Part(func() bus.Bus { return n.bus }, func() *guard.Guard { return n.guard }, nil, log))
	n.Add(n.server.Part(n.Fail))
	n.Add(lifecycle.Part{Name: "waiting reads", Stop: func(context.Context) error { n.api.Close(); return nil }})
	n.Add(n.drain.Part())
	n.Add(lifecycle.Part{Name: "long polls", Stop: func(context.Context) error { n.api.Drain(); return nil }})
	return n
}

// URL is where the node is served.
func (n *Node) URL() string { return n.server.URL() }

func (n *Node) openStore(ctx context.Context) (*gormstore.Postgres, error) {
	st, err := postgres.Open(ctx, n.config, n.log)
	if err != nil {
		return nil, err
	}
	if len(n.config.DatabaseReplicaURLs) > 0 {
		if err := countReplicas(n.telemetry.Registerer(), st.ReplicaStats); err != nil {
			return nil, errors.Join(err, st.Close())
		}
	}
	return st, nil
}

func (n *Node) openTraces(context.Context) (*telemetry.Traces, error) {
	return telemetry.OpenTraces(n.config.Traces, "doorbell-api", n.log)
}

func (n *Node) openBus(ctx context.Context) (*redisbus.Bus, error) {
	return redis.Open(ctx, n.config, n.log)
}

func (n *Node) openGuard(context.Context) (*guard.Guard, error) {
	return guard.Open(n.config, n.bus, n.log, n.telemetry.Registerer())
}

func (n *Node) makeAPI(context.Context) error {
	var err error
	n.api, err = api.New(api.Options{
		Limits: limits(n.config), Metrics: n.telemetry.Registerer(), Traces: n.traces.Requests(),
		CacheBytes: n.config.API.CacheBytes, DatabaseCalls: n.config.API.DatabaseCalls,
		Store: n.store, Bus: n.bus, Policies: n.config.Policies(), Auth: n.guard, Logger: n.log,
		AllowedOrigins: n.config.Origins, TrustedProxies: n.config.TrustedProxies,
	})
	return err
}

func limits(c config.Config) api.Limits {
	return api.Limits{
		Reads: api.Limit(c.Limits.Reads), Polls: api.Limit(c.Limits.Polls), Heads: api.Limit(c.Limits.Heads),
		Writes: api.Limit(c.Limits.Writes), RedisURL: c.RedisURL,
	}
}

// serve tells requests apart by hand: http.ServeMux would clean and redirect paths, and the API must see them as they
// came.
func (n *Node) serve(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case n.admin.Serves(w, r):
	case strings.HasPrefix(path, "/v1/"), path == "/docs":
		n.api.Handler().ServeHTTP(w, r)
	case path == "/healthz":
		httphost.Alive(w, r)
	case path == "/readyz":
		httphost.Ready(n.ready, n.log)(w, r)
	default:
		n.rest.ServeHTTP(w, r)
	}
}

// ready: without Redis the API still serves; signals of its writes come later.
func (n *Node) ready(ctx context.Context) error {
	if n.drain.Begun() {
		return errors.New("stopping")
	}
	return n.store.Ping(ctx)
}
