package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

var restart = wire.Close{Code: wire.CloseRestart, Reason: "this node restarts"}

// goWithin is how long a client that is asked to reconnect gets at most.
const goWithin = 5 * time.Second

// Drain takes no new connections, asks clients to reconnect elsewhere, one after another spread evenly over the drain window,
// closes what is left after it with 1012, and waits until all are gone or ctx ends, which is the only error. It may be called
// more than once.
func (g *Gateway) Drain(ctx context.Context) error {
	g.mu.Lock()
	if !g.draining {
		g.draining = true
		g.drainEnd = time.Now().Add(g.timings.DrainWindow)
		if window := g.timings.DrainWindow; window > 0 {
			within := min(goWithin, window/4)
			g.spreadLocked(session.Drain, window-within, within)
		}
	}
	left := time.Until(g.drainEnd)
	g.mu.Unlock()

	gone := g.gone()
	if left > 0 {
		window := time.NewTimer(left)
		defer window.Stop()
		select {
		case <-gone:
			return nil
		case <-ctx.Done():
		case <-window.C:
		}
	}
	g.closeAll()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain connections: %w", ctx.Err())
	}
}

// spreadLocked asks clients to go, at even distances over a time, in an order that has nothing to do with when they came.
func (g *Gateway) spreadLocked(why session.Away, over, within time.Duration) {
	for i, at := range rand.Perm(len(g.conns)) {
		if s, ok := g.conns[i].Dialogue().(*session.Session); ok {
			s.GoAway(why, over*time.Duration(at)/time.Duration(len(g.conns)), within)
		}
	}
}

// closeAll closes with 1012, and whoever is on the way in, too.
func (g *Gateway) closeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining, g.closing = true, true
	for _, c := range g.conns {
		c.Close(restart)
	}
}

// gone is closed when no connection is left, nor a request that may become one.
func (g *Gateway) gone() <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		g.serving.Wait()
		close(gone)
	}()
	return gone
}

// Close closes all connections with 1012, which takes no longer than [Timings.CloseWait], and stops listening to the bus. Closing
// twice is fine.
func (g *Gateway) Close() {
	g.closeAll()
	grace := time.NewTimer(g.timings.CloseWait)
	defer grace.Stop()
	select {
	case <-g.gone():
	case <-grace.C: // what is left then is cut off
	}
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
	g.refusals.Close()
	g.metrics.close()
}
