// Package gateway pushes signals to clients: it upgrades requests to WebSockets or answers them with events, and ties each one's
// dialogue to the hub, which listens to the bus for all of them.
//
//	GET /v1/signals ─▶ method, origin ─┬▶ upgrade ─▶ wsconn (frames) ◀─▶ session (commands) ◀─▶ hub (feeds) ◀─▶ bus
//	                                   └▶ feeds ───▶ sse (events) ◀───▶
//
// No database is touched anywhere in it.
package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/origin"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/audience"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/pace"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/sse"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/strangers"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wsconn"
)

// Gateway holds connections. It is safe for concurrent use.
type Gateway struct {
	// Static after New.
	log      *slog.Logger
	origins  *origin.List
	refusals *strangers.Log // of origins
	proxies  origin.Proxies
	hub      *hub.Hub
	sessions session.Options
	sockets  wsconn.Options
	kinds    []*session.Kind // by subprotocol
	streams  sse.Options
	wheel    *wheel.Wheel
	shards   *shard.Pool
	abort    context.CancelFunc // of what all connections wait for
	metrics  *metrics
	timings  Timings
	limits   Limits
	watching sync.WaitGroup     // for what all connections have in common
	audience *audience.Audience // nil: the bus carries heads alone

	door door

	mu sync.Mutex
	// Guarded by mu.
	draining bool           // no new connections
	drainEnd time.Time      // when draining closes what is left
	closing  bool           // nor any others
	within   int            // connections, and requests that may become one
	conns    []conn         // each knows its place
	serving  sync.WaitGroup // requests and connections; grows under mu only while not draining
}

// conn is a connection of any transport.
type conn interface {
	Close(why wire.Close)
	Abort()
	// Place is its index in Gateway.conns, guarded by Gateway.mu.
	Place() *int32
	// Dialogue is the connection's [*session.Session]; nil before it begins and once it ends.
	Dialogue() any
}

// New makes a gateway that listens to the bus. Close ends it; the bus stays the caller's.
func New(opt Options) (*Gateway, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	allowed, err := origin.ParseList(opt.AllowedOrigins)
	if err != nil {
		return nil, fmt.Errorf("allowed origins: %w", err)
	}
	proxies, err := origin.ParseProxies(opt.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	t := opt.Timings
	g := &Gateway{
		log: opt.Logger, origins: allowed, refusals: strangers.New(opt.Logger), proxies: proxies,
		timings: t, limits: opt.Limits, door: door{limit: pace.New(opt.Limits.Handshakes, opt.Limits.Handshakes)},
	}
	g.metrics = newMetrics(opt.Metrics, g, opt.Bus)
	g.wheel, g.shards = wheel.New(tick), shard.New(0)
	g.hub, err = hub.New(hub.Options{
		Bus: opt.Bus, Logger: opt.Logger, Shards: g.shards, MaxFeeds: opt.Limits.Feeds,
		Flushed: g.metrics.flushed, Panicked: g.metrics.panics.Inc,
		Spread: g.listenForAudience(opt), Trace: tracesOf(opt.Tracer),
		FollowTimeout: t.FollowTimeout, RetryMin: t.RetryMin, RetryMax: t.RetryMax, Linger: t.Linger,
	})
	if err != nil {
		g.wheel.Close()
		g.shards.Close()
		return nil, fmt.Errorf("make the hub: %w", err)
	}
	g.sessions = session.Options{
		Hub: g.hub, Policies: opt.Policies, Auth: opt.Auth, Logger: opt.Logger, PingMillis: t.PingEvery.Milliseconds(),
		Registry: session.NewRegistry(), PerSubject: opt.Limits.PerSubject,
		Commands: pace.New(opt.Limits.Commands, opt.Limits.Commands*commandBurst), Limited: g.metrics.limited,
	}
	g.sessions.Revoker, _ = opt.Auth.(auth.Revoker)
	ctx, abort := context.WithCancel(context.Background())
	g.abort = abort
	g.sockets = wsconn.Options{
		Logger: opt.Logger, Context: ctx, Wheel: g.wheel, Shards: g.shards,
		MaxFrame: wire.MaxFrame, Counts: new(wsconn.Counts),
		Ended:     func(c *wsconn.Conn, why wire.Close) { g.ended(c, why) },
		Panicked:  g.metrics.panics.Inc,
		Outlet:    outlet.Options{Stall: t.Stall, Lanes: outlet.NewLanes(lanes)},
		PingEvery: t.PingEvery, PongWait: t.PongWait, MessageWait: t.MessageWait, CloseWait: t.CloseWait,
	}
	g.streams = sse.Options{
		Logger: opt.Logger, Context: ctx, Wheel: g.wheel, Shards: g.shards, Outlet: g.sockets.Outlet,
		Ended:        func(c *sse.Conn, why wire.Close) { g.ended(c, why) },
		Panicked:     g.metrics.panics.Inc,
		CommentEvery: t.PingEvery, CloseWait: t.CloseWait,
	}
	for _, spoken := range []struct {
		wsconn.Subprotocol
		wire.Encoding
	}{
		{wsconn.Subprotocol{Name: "doorbell.v1.json"}, wire.JSON},
		{wsconn.Subprotocol{Name: "doorbell.v1.proto", Binary: true}, wire.Proto},
	} {
		g.sockets.Subprotocols = append(g.sockets.Subprotocols, spoken.Subprotocol)
		g.kinds = append(g.kinds, &session.Kind{Encoding: spoken.Encoding, Form: &frames{spoken.Encoding, spoken.Opcode()}})
	}
	if g.audience != nil {
		g.audience.Start()
	}
	if err := g.metrics.register(); err != nil {
		g.Close()
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if by := g.sessions.Revoker; by != nil {
		g.watching.Go(func() { g.endRevoked(g.sockets.Context, by) })
	}
	return g, nil
}

// commandBurst is how many seconds' worth of commands may come at once.
const commandBurst = 10

// lanes is how many TLS connections are written to at a time, as long as they take it.
const lanes = 64

// tick is how exact the times of connections are.
const tick = 100 * time.Millisecond

// frames is how signals look on WebSockets, in one encoding.
type frames struct {
	encoding wire.Encoding
	opcode   byte
}

var _ hub.Form = (*frames)(nil)

func (f *frames) AppendSignal(b []byte, h hub.FeedHead) []byte {
	return wsconn.AppendFrame(b, f.opcode, func(b []byte) []byte { return f.encoding.AppendChanged(b, []hub.FeedHead{h}) })
}

// Status is how a gateway is right now.
type Status struct {
	// Ready tells whether it takes new connections. It does so without the bus, too: its clients poll then, and with all
	// gateways turned away they would have nowhere to hear that the bus is back.
	Ready bool
	// BusAlive tells whether signals come.
	BusAlive    bool
	Connections int
	// Feeds is how many are followed on the bus.
	Feeds int
}

// Status tells.
func (g *Gateway) Status() Status {
	stats := g.hub.Stats()
	g.mu.Lock()
	defer g.mu.Unlock()
	return Status{Ready: !g.draining, BusAlive: stats.Alive, Connections: len(g.conns), Feeds: stats.Feeds}
}

// serve begins to speak with one client, and tells whether it did. If so, ended counts it out again.
func (g *Gateway) serve(c *wsconn.Conn, token string) bool {
	dialogue, err := session.New(&g.sessions, g.kinds[c.Spoken()], session.NewID(), token, c.Outlet(), c)
	if err != nil {
		c.Abort() // closed while this one was being upgraded
		return false
	}
	g.add(c, dialogue)
	c.Start(dialogue)
	return true
}

// add keeps a connection, which is to be started. If it has come too late it goes at once, and otherwise at its age.
func (g *Gateway) add(c conn, dialogue *session.Session) {
	g.mu.Lock()
	*c.Place() = int32(len(g.conns))
	g.conns = append(g.conns, c)
	draining, closing := g.draining, g.closing
	g.mu.Unlock()
	g.metrics.handshake(outcomeAccepted)
	switch age := g.timings.MaxAge; {
	case closing:
		c.Close(restart)
	case draining:
		dialogue.GoAway(session.Drain, 0, 0)
	case age > 0:
		dialogue.GoAway(session.Age, time.Duration(float64(age)*(0.8+0.4*rand.Float64())), min(goWithin, age/10))
	}
}

// ended forgets a connection of which nothing is left.
func (g *Gateway) ended(c conn, why wire.Close) {
	g.metrics.closed(why.Code)
	g.mu.Lock()
	last := len(g.conns) - 1
	moved := g.conns[last]
	g.conns[*c.Place()], *moved.Place() = moved, *c.Place()
	g.conns[last] = nil
	g.conns = g.conns[:last]
	g.mu.Unlock()
	g.leave()
}
