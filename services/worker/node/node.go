// Package node is a process of the worker service: Postgres, Redis, the worker, and an address for health checks.
package node

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/httphost"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/servers/postgres"
	"github.com/doorbell-sync/doorbell/pkg/servers/redis"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	"github.com/doorbell-sync/doorbell/pkg/telemetry"
	"github.com/doorbell-sync/doorbell/services/worker"
)

// Service is the command that runs a Node.
func Service() command.Service {
	return command.Service{
		Name: "worker", Short: "Run the worker: lost signals, unknown heads, retention",
		Database: true, Redis: true,
		New: func(c config.Config, log *slog.Logger) (command.Process, error) { return New(c, log), nil },
	}
}

// Node is one process of the worker service. Several do no harm.
type Node struct {
	lifecycle.Stack
	// static
	config    config.Config
	log       *slog.Logger
	server    *httphost.Server
	telemetry *telemetry.Telemetry

	// set while starting
	store *gormstore.Postgres
	bus   *redisbus.Bus
}

// New makes a node of a valid configuration.
func New(c config.Config, log *slog.Logger) *Node {
	n := &Node{config: c, log: log, telemetry: telemetry.New()}
	n.server = httphost.New(c.Listen, http.HandlerFunc(n.serve), log)
	n.server.UseTLS(c.TLS.Cert, c.TLS.Key)
	n.Add(n.telemetry.Part(c.InternalListen, log, n.Fail))
	n.Add(lifecycle.Opened("store", &n.store, n.openStore))
	n.Add(lifecycle.Opened("bus", &n.bus, n.openBus))
	n.AddRun("worker", n.work)
	n.Add(n.server.Part(n.Fail))
	return n
}

// URL is where the node is served.
func (n *Node) URL() string { return n.server.URL() }

func (n *Node) openStore(ctx context.Context) (*gormstore.Postgres, error) {
	return postgres.Open(ctx, n.config, n.log)
}

func (n *Node) openBus(ctx context.Context) (*redisbus.Bus, error) {
	return redis.Open(ctx, n.config, n.log)
}

func (n *Node) work(ctx context.Context) error {
	return worker.New(worker.Options{Store: n.store, Bus: n.bus, Policies: n.config.Policies(), Logger: n.log}).Run(ctx)
}

func (n *Node) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		httphost.Alive(w, r)
	case "/readyz":
		httphost.Ready(n.store.Ping, n.log)(w, r)
	default:
		http.NotFound(w, r)
	}
}
