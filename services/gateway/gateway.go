// Package gateway pushes signals to clients: it upgrades requests to WebSockets, and ties each one's dialogue to the
// hub, which listens to the bus for all of them.
//
//	GET /v1/signals ─▶ method, origin ─▶ upgrade ─▶ wsconn (frames) ◀─▶ session (commands) ◀─▶ hub (feeds) ◀─▶ bus
//
// No database is touched anywhere in it.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/origin"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
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
	ctx      context.Context // of all connections
	abort    context.CancelFunc

	mu sync.Mutex
	// Guarded by mu.
	draining bool
	conns    map[*wsconn.Conn]struct{}
	serving  sync.WaitGroup // requests and connections; grows under mu only while not draining
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
	h, err := hub.New(hub.Options{
		Bus: opt.Bus, Logger: opt.Logger, MaxFeeds: opt.Limits.Feeds,
		FollowTimeout: t.FollowTimeout, RetryMin: t.RetryMin, RetryMax: t.RetryMax, Linger: t.Linger,
	})
	if err != nil {
		return nil, fmt.Errorf("make the hub: %w", err)
	}
	g := &Gateway{
		log: opt.Logger, origins: allowed, proxies: proxies, hub: h,
		sessions: session.Options{
			Hub: h, Policies: opt.Policies, Auth: opt.Auth, Logger: opt.Logger, PingMillis: t.PingEvery.Milliseconds(),
		},
		sockets: wsconn.Options{
			Logger: opt.Logger, MaxFrame: wire.MaxFrame,
			PingEvery: t.PingEvery, PongWait: t.PongWait, MessageWait: t.MessageWait, Stall: t.Stall, CloseWait: t.CloseWait,
		},
		conns: make(map[*wsconn.Conn]struct{}),
	}
	g.ctx, g.abort = context.WithCancel(context.Background())
	return g, nil
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
	for c := range g.conns {
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
	g.serving.Wait()
	g.hub.Close()
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

// serve speaks with one client until either side has had enough. It gives back what admit has counted.
func (g *Gateway) serve(c *wsconn.Conn, log *slog.Logger, id, token string) {
	defer g.serving.Done()
	dialogue, err := session.New(&g.sessions, id, token, c.Wake)
	if err != nil {
		c.Abort() // closed while this one was being upgraded
		return
	}
	defer dialogue.Close()
	g.mu.Lock()
	g.conns[c] = struct{}{}
	if g.draining {
		c.Close(restart)
	}
	g.mu.Unlock()
	log.Debug("connected")
	reason := c.Serve(g.ctx, dialogue)
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	log.Debug("disconnected", "code", reason.Code, "reason", reason.Reason)
}

func newSessionID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "s-" + hex.EncodeToString(b[:])
}
