// Package allinone runs all of Doorbell in one process, gateway, API and worker on one port: embedded on SQLite and the
// in-process bus, or on Postgres and Redis.
//
//	/v1/signals          gateway
//	/v1/…                API
//	/healthz, /readyz    alive; give me traffic
//	/, /page/…           the live page
package allinone

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"slices"

	"github.com/doorbell-sync/doorbell/pkg/admin"
	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/auth/guard"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/pkg/httphost"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/telemetry"
	"github.com/doorbell-sync/doorbell/services/api"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/hostfeed"
	"github.com/doorbell-sync/doorbell/services/gateway"
	"github.com/doorbell-sync/doorbell/services/worker"
)

// Node is one process with everything in it.
type Node struct {
	lifecycle.Stack
	// static
	config    config.Config
	log       *slog.Logger
	server    *httphost.Server
	telemetry *telemetry.Telemetry
	drain     httphost.Drain
	admin     admin.Desk
	// openWrites: everybody on this machine may write without a key.
	openWrites bool

	// set while starting, read afterwards
	traces  *telemetry.Traces
	store   store.Store
	bus     bus.Bus
	api     *api.API
	guard   *guard.Guard
	gateway *gateway.Gateway
	handler http.Handler
	hostKey string
	devKeys []config.TokenKey
}

func newNode(c config.Config, log *slog.Logger) *Node {
	n := &Node{config: c, log: log, telemetry: telemetry.New(), drain: httphost.Drain{Wait: c.DrainWait}}
	n.server = httphost.New(c.Listen, http.HandlerFunc(n.serve), log)
	n.server.UseTLS(c.TLS.Cert, c.TLS.Key)
	n.server.Front(func(l net.Listener) net.Listener { return n.gateway.Listen(l) })
	n.Add(n.telemetry.Part(c.InternalListen, log, n.Fail))
	n.Add(lifecycle.Opened("traces", &n.traces, n.openTraces))
	return n
}

// addServices adds what stands on the store and the bus.
func (n *Node) addServices() {
	n.AddRun("worker", n.work)
	n.Add(lifecycle.Opened("guard", &n.guard, n.openGuard))
	n.Add(lifecycle.Part{Name: "services", Start: n.makeServices, Stop: n.closeServices})
	n.Add(n.admin.Part(func() bus.Bus { return n.bus }, func() *guard.Guard { return n.guard },
		func() admin.Gateway { return n.gateway }, n.log))
	n.Add(n.server.Part(n.Fail))
	n.Add(lifecycle.Part{Name: "connections", Stop: n.disconnect})
}

// URL is where the node is served.
func (n *Node) URL() string { return n.server.URL() }

func (n *Node) work(ctx context.Context) error {
	return worker.New(worker.Options{Store: n.store, Bus: n.bus, Policies: n.config.Policies(), Logger: n.log}).Run(ctx)
}

func (n *Node) openTraces(context.Context) (*telemetry.Traces, error) {
	return telemetry.OpenTraces(n.config.Traces, "doorbell", n.log)
}

// openGuard lets in the node's own keys, too.
func (n *Node) openGuard(context.Context) (*guard.Guard, error) {
	n.hostKey = rand.Text()
	c := n.config
	c.Keys = append(slices.Clone(c.Keys), auth.Key{Name: "host", Secret: n.hostKey, Write: []string{hostfeed.Feed}})
	c.Tokens.Keys = append(slices.Clone(c.Tokens.Keys), n.devKeys...)
	return guard.Open(c, n.bus, n.log, n.telemetry.Registerer())
}

func (n *Node) makeServices(context.Context) error {
	var err error
	n.gateway, err = gateway.New(gateway.Options{
		Bus: n.bus, Policies: n.config.Policies(), Auth: n.guard, Logger: n.log,
		AllowedOrigins: n.config.Origins, TrustedProxies: n.config.TrustedProxies,
		Metrics: n.telemetry.Registerer(), Tracer: n.traces.Tracer(),
		Limits: gateway.LimitsOf(n.config.Gateway), Timings: gateway.TimingsOf(n.config.Gateway),
	})
	if err != nil {
		return err
	}
	n.api, err = api.New(api.Options{
		Limits: n.limits(), Metrics: n.telemetry.Registerer(), Traces: n.traces.Requests(),
		CacheBytes: n.config.API.CacheBytes, DatabaseCalls: n.config.API.DatabaseCalls,
		Store: n.store, Bus: n.bus, Policies: n.config.Policies(), Auth: n.guard, Logger: n.log,
		OpenWrites:     n.openWrites,
		AllowedOrigins: n.config.Origins, TrustedProxies: n.config.TrustedProxies,
	})
	if err != nil {
		n.gateway.Close()
		return err
	}
	n.handler = n.routes()
	return nil
}

// limits are shared by nodes that share a Redis; the embedded node has none.
func (n *Node) limits() api.Limits {
	l := n.config.Limits
	limits := api.Limits{
		Reads: api.Limit(l.Reads), Polls: api.Limit(l.Polls), Heads: api.Limit(l.Heads), Writes: api.Limit(l.Writes),
	}
	if _, embedded := n.bus.(*membus.Bus); !embedded {
		limits.RedisURL = n.config.RedisURL
	}
	return limits
}

func (n *Node) closeServices(context.Context) error {
	n.api.Close()
	n.gateway.Close()
	return nil
}

// disconnect closes the sockets, which the listener doesn't know of, and answers reads that wait.
func (n *Node) disconnect(ctx context.Context) error {
	n.api.Close()
	return n.gateway.Drain(ctx)
}

func (n *Node) serve(w http.ResponseWriter, r *http.Request) { n.handler.ServeHTTP(w, r) }
