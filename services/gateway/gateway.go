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
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/origin"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/audience"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/sse"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wsconn"
)

// Gateway holds connections. It is safe for concurrent use.
type Gateway struct {
	// Static after New.
	log      *slog.Logger
	origins  *origin.List
	proxies  origin.Proxies
	hub      *hub.Hub
	sessions session.Options
	sockets  wsconn.Options
	kinds    []*session.Kind // by subprotocol
	streams  sse.Options
	wheel    *wheel.Wheel
	shards   *shard.Pool
	abort    context.CancelFunc // of what all connections wait for
	watching sync.WaitGroup     // for what all connections have in common
	audience *audience.Audience // nil: the bus carries heads alone

	mu sync.Mutex
	// Guarded by mu.
	draining bool
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
		log: opt.Logger, origins: allowed, proxies: proxies,
		wheel: wheel.New(tick), shards: shard.New(0),
	}
	g.hub, err = hub.New(hub.Options{
		Bus: opt.Bus, Logger: opt.Logger, Shards: g.shards, MaxFeeds: opt.Limits.Feeds,
		Spread:        g.listenForAudience(opt),
		FollowTimeout: t.FollowTimeout, RetryMin: t.RetryMin, RetryMax: t.RetryMax, Linger: t.Linger,
	})
	if err != nil {
		g.wheel.Close()
		g.shards.Close()
		return nil, fmt.Errorf("make the hub: %w", err)
	}
	g.sessions = session.Options{
		Hub: g.hub, Policies: opt.Policies, Auth: opt.Auth, Logger: opt.Logger, PingMillis: t.PingEvery.Milliseconds(),
		Registry: session.NewRegistry(),
	}
	g.sessions.Revoker, _ = opt.Auth.(auth.Revoker)
	g.sockets = wsconn.Options{
		Logger: opt.Logger, Wheel: g.wheel, Shards: g.shards, MaxFrame: wire.MaxFrame,
		Ended:     func(c *wsconn.Conn, _ wire.Close) { g.ended(c) },
		Outlet:    outlet.Options{Stall: t.Stall},
		PingEvery: t.PingEvery, PongWait: t.PongWait, MessageWait: t.MessageWait, CloseWait: t.CloseWait,
	}
	g.sockets.Context, g.abort = context.WithCancel(context.Background())
	g.streams = sse.Options{
		Logger: opt.Logger, Context: g.sockets.Context, Wheel: g.wheel, Shards: g.shards, Outlet: g.sockets.Outlet,
		Ended:        func(c *sse.Conn, _ wire.Close) { g.ended(c) },
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
	if by := g.sessions.Revoker; by != nil {
		g.watching.Go(func() { g.endRevoked(g.sockets.Context, by) })
	}
	return g, nil
}

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

// Drain takes no new connections, closes all with 1012, and waits until they are gone or ctx ends, which is the only
// error. It may be called more than once.
func (g *Gateway) Drain(ctx context.Context) error {
	g.mu.Lock()
	g.draining = true
	for _, c := range g.conns {
		c.Close(restart)
	}
	g.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		g.serving.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain connections: %w", ctx.Err())
	}
}

// Close drains, which takes no longer than [Timings.CloseWait], and stops listening to the bus. Closing twice is fine.
func (g *Gateway) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), g.sockets.CloseWait)
	defer cancel()
	_ = g.Drain(ctx) // what is left then is cut off
	g.abort()
	g.mu.Lock()
	for _, c := range g.conns {
		c.Abort()
	}
	g.mu.Unlock()
	g.serving.Wait()
	g.watching.Wait()
	if g.audience != nil {
		g.audience.Close()
	}
	g.hub.Close()
	g.wheel.Close()
	g.shards.Close()
}

var restart = wire.Close{Code: wire.CloseRestart, Reason: "this node restarts"}

// admit counts a request in, unless the gateway takes none any more.
func (g *Gateway) admit() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return false
	}
	g.serving.Add(1)
	return true
}

// serve begins to speak with one client, and tells whether it did. If so, ended gives back what admit has counted.
func (g *Gateway) serve(c *wsconn.Conn, token string) bool {
	dialogue, err := session.New(&g.sessions, g.kinds[c.Spoken()], session.NewID(), token, c.Outlet(), c)
	if err != nil {
		c.Abort() // closed while this one was being upgraded
		return false
	}
	g.add(c)
	c.Start(dialogue)
	return true
}

// add keeps a connection, which is closed if it has come too late.
func (g *Gateway) add(c conn) {
	g.mu.Lock()
	*c.Place() = int32(len(g.conns))
	g.conns = append(g.conns, c)
	draining := g.draining
	g.mu.Unlock()
	if draining {
		c.Close(restart)
	}
}

// ended forgets a connection of which nothing is left.
func (g *Gateway) ended(c conn) {
	g.mu.Lock()
	last := len(g.conns) - 1
	moved := g.conns[last]
	g.conns[*c.Place()], *moved.Place() = moved, *c.Place()
	g.conns[last] = nil
	g.conns = g.conns[:last]
	g.mu.Unlock()
	g.serving.Done()
}
