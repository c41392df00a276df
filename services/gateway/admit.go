package gateway

import (
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/pace"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
)

// Limits of the whole process, beside those of a session.
const (
	tooManyConnections session.Limit = "connections"
	tooManyHandshakes  session.Limit = "handshakes"
)

// Those who are turned away are told to come back within so many seconds, each at another time.
const (
	retryLeast = 1
	retryMost  = 5
)

// door lets handshakes in. It is safe for concurrent use.
type door struct {
	limit pace.Limit // static

	mu   sync.Mutex
	mark pace.Mark // guarded by mu
}

func (d *door) open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.limit.Take(&d.mark) == 0
}

// admit counts a request in, or says why not: the gateway stops, or has as much as it can hold or greet. A page can't see that,
// so clients take it for a node that is away and come back.
func (g *Gateway) admit() *problem.Problem {
	if !g.door.open() {
		g.metrics.limited(tooManyHandshakes)
		return turnedAway(outcomeBusy, "this node has its hands full; come back")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.draining:
		return turnedAway(outcomeDraining, "this node stops; come back")
	case g.within >= g.limits.Connections:
		g.metrics.limited(tooManyConnections)
		return turnedAway(outcomeFull, "this node is full; come back")
	}
	g.within++
	g.serving.Add(1)
	return nil
}

// leave counts out what admit has counted in.
func (g *Gateway) leave() {
	g.mu.Lock()
	g.within--
	g.mu.Unlock()
	g.serving.Done()
}

func turnedAway(code, detail string) *problem.Problem {
	p := problem.New(http.StatusServiceUnavailable, code, detail)
	p.RetryAfter = retryLeast + rand.IntN(retryMost-retryLeast+1)
	return p
}
