// Package node is a process of the gateway service: Redis, and the gateway on one address.
package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/doorbell-sync/doorbell/pkg/admin"
	"github.com/doorbell-sync/doorbell/pkg/auth/guard"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/httphost"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/servers/redis"
	"github.com/doorbell-sync/doorbell/pkg/telemetry"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// Service is the command that runs a Node.
func Service() command.Service {
	return command.Service{
		Name: "gateway", Short: "Run the gateway: signals over WebSocket and as events",
		Redis: true,
		New:   func(c config.Config, log *slog.Logger) (command.Process, error) { return New(c, log), nil },
	}
}

// Node is one process of the gateway service. It serves before Redis answers, and says `degraded` until it does.
type Node struct {
	lifecycle.Stack
	// static
	config    config.Config
	log       *slog.Logger
	server    *httphost.Server
	telemetry *telemetry.Telemetry
	drain     httphost.Drain
	admin     admin.Desk

	// set while starting
	traces  *telemetry.Traces
	bus     *redisbus.Bus
	guard   *guard.Guard
	gateway *gateway.Gateway
}

// New makes a node of a valid configuration.
func New(c config.Config, log *slog.Logger) *Node {
	n := &Node{config: c, log: log, telemetry: telemetry.New(), drain: httphost.Drain{Wait: c.DrainWait}}
	n.server = httphost.New(c.Listen, http.HandlerFunc(n.serve), log)
	n.server.UseTLS(c.TLS.Cert, c.TLS.Key)
	n.server.Front(func(l net.Listener) net.Listener { return n.gateway.Listen(l) })
	n.Add(n.telemetry.Part(c.InternalListen, log, n.Fail))
	n.Add(lifecycle.Opened("traces", &n.traces, n.openTraces))
	n.Add(lifecycle.Opened("bus", &n.bus, n.openBus))
	n.Add(lifecycle.Opened("guard", &n.guard, n.openGuard))
	n.Add(lifecycle.Part{Name: "gateway", Start: n.makeGateway, Stop: func(context.Context) error { n.gateway.Close(); return nil }})
	n.Add(n.admin.Part(func() bus.Bus { return n.bus }, func() *guard.Guard { return n.guard },
		func() admin.Gateway { return n.gateway }, log))
	n.Add(n.server.Part(n.Fail))
	n.Add(lifecycle.Part{Name: "connections", Stop: func(ctx context.Context) error { return n.gateway.Drain(ctx) }})
	n.Add(n.drain.Part())
	return n
}

// URL is where the node is served.
func (n *Node) URL() string { return n.server.URL() }

func (n *Node) openTraces(context.Context) (*telemetry.Traces, error) {
	return telemetry.OpenTraces(n.config.Traces, "doorbell-gateway", n.log)
}

func (n *Node) openBus(ctx context.Context) (*redisbus.Bus, error) {
	return redis.Open(ctx, n.config, n.log)
}

func (n *Node) openGuard(context.Context) (*guard.Guard, error) {
	return guard.Open(n.config, n.bus, n.log, n.telemetry.Registerer())
}

func (n *Node) makeGateway(context.Context) error {
	var err error
	n.gateway, err = gateway.New(gateway.Options{
		Bus: n.bus, Policies: n.config.Policies(), Auth: n.guard, Logger: n.log,
		AllowedOrigins: n.config.Origins, TrustedProxies: n.config.TrustedProxies,
		Metrics: n.telemetry.Registerer(), Tracer: n.traces.Tracer(),
		Limits: gateway.LimitsOf(n.config.Gateway), Timings: gateway.TimingsOf(n.config.Gateway),
	})
	return err
}

func (n *Node) serve(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == gateway.Path:
		n.gateway.Handler().ServeHTTP(w, r)
	case n.admin.Serves(w, r):
	case path == "/healthz":
		httphost.Alive(w, r)
	case path == "/readyz":
		httphost.Ready(n.ready, n.log)(w, r)
	default:
		http.NotFound(w, r)
	}
}

// ready: also without Redis, because its clients would have nowhere else to hear that it is back.
func (n *Node) ready(context.Context) error {
	if n.drain.Begun() {
		return errors.New("stopping")
	}
	return nil
}
