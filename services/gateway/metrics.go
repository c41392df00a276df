package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/session"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/sse"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wsconn"
)

// Outcomes of handshakes; those of problems are their codes.
const (
	outcomeAccepted = "accepted"
	outcomeOrigin   = "origin_not_allowed"
	outcomeBad      = "bad_handshake"
	outcomeDraining = "draining"
	outcomeFull     = "full"
	outcomeBusy     = "busy"
)

// metrics is what operators see. What happens with each delivery is counted where it happens, by shard, and added up when
// somebody asks.
type metrics struct {
	// Static.
	to         prometheus.Registerer
	all        []prometheus.Collector
	handshakes *prometheus.CounterVec
	closes     *prometheus.CounterVec
	refused    *prometheus.CounterVec
	flush      prometheus.Histogram
	panics     prometheus.Counter
}

// newMetrics makes them; to is nil if nobody looks.
func newMetrics(to prometheus.Registerer, g *Gateway, b bus.Bus) *metrics {
	if to == nil {
		to = prometheus.NewRegistry()
	}
	m := &metrics{to: to}
	const ns, sub = "doorbell", "gateway"
	vec := func(name, help, label string, known ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{label})
		for _, value := range known { // they are there before they happen
			v.WithLabelValues(value)
		}
		m.all = append(m.all, v)
		return v
	}
	counter := func(name, help string, get func() float64) {
		m.all = append(m.all, prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, get))
	}
	gauge := func(name, help string, labels prometheus.Labels, get func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: name, Help: help, ConstLabels: labels,
		}, get))
	}
	m.handshakes = vec("handshakes_total", "Handshakes, by what became of them.", "outcome",
		outcomeAccepted, outcomeOrigin, outcomeBad, outcomeDraining, outcomeFull, outcomeBusy)
	m.closes = vec("closes_total", "Connections that have ended, by close code; 1006: without one.", "code")
	m.refused = vec("limited_total", "What a limit has refused.", "limit", string(tooManyConnections), string(tooManyHandshakes),
		string(session.TooManySessions), string(session.TooManyFeeds), string(session.TooManyCommands))
	m.flush = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: ns, Subsystem: sub, Name: "flush_seconds",
		Help:    "From a signal of the bus to the last of a shard's followers having been written to or marked.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // to 4 s
	})
	m.panics = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: ns, Subsystem: sub, Name: "panics_total", Help: "Mistakes of ours that have cost a connection; each is logged.",
	})
	m.all = append(m.all, m.flush, m.panics)

	gauge("connections", "Open connections, by transport.", prometheus.Labels{"transport": "websocket"},
		func() float64 { return count[*wsconn.Conn](g) })
	gauge("connections", "Open connections, by transport.", prometheus.Labels{"transport": "sse"},
		func() float64 { return count[*sse.Conn](g) })
	gauge("connections_limit", "How many connections this process takes.", nil, func() float64 { return float64(g.limits.Connections) })
	gauge("subscriptions", "Feeds followed, each counted once per connection.", nil,
		func() float64 { return float64(g.hub.Stats().Follows) })
	gauge("feeds", "Feeds followed on the bus.", nil, func() float64 { return float64(g.hub.Stats().Feeds) })
	gauge("bus_alive", "Whether signals come: 1 or 0.", nil, func() float64 {
		if g.hub.Stats().Alive {
			return 1
		}
		return 0
	})
	if b, ok := b.(bus.Lagger); ok {
		gauge("bus_lag_seconds",
			"From the last test message's being published to the bus to its being received; it grows while none comes.",
			nil, func() float64 { return b.Lag().Seconds() })
	}
	counter("degraded_seconds_total", "How long the bus has been lost, altogether.",
		func() float64 { return g.hub.Stats().Degraded.Seconds() })
	counter("signals_total", "Signals that the bus has delivered.", func() float64 { return float64(g.hub.Stats().Signals) })
	counter("coalesced_total", "Signals to a connection that a later one has made unnecessary.",
		func() float64 { return float64(g.hub.Stats().Coalesced) })
	counter("frames_total", "Frames handed to sockets, of all kinds.", func() float64 { return float64(g.shards.Written().Frames) })
	counter("bytes_total", "Bytes of these.", func() float64 { return float64(g.shards.Written().Bytes) })
	counter("full_sockets_total", "Frames that a socket did not take at once.", func() float64 { return float64(g.shards.Written().Full) })
	counter("pings_late_total", "Pings written more than a second late.",
		func() float64 { return float64(g.sockets.Counts.PingsLate.Load()) })
	counter("silent_total", "Connections dropped because no sign of life came in time.",
		func() float64 { return float64(g.sockets.Counts.Silent.Load()) })
	return m
}

// register makes them seen. On an error none is.
func (m *metrics) register() error {
	for i, c := range m.all {
		if err := m.to.Register(c); err != nil {
			m.all = m.all[:i]
			m.close()
			return err
		}
	}
	return nil
}

// close takes them out of the registry, which another gateway may use after this one.
func (m *metrics) close() {
	for _, c := range m.all {
		m.to.Unregister(c)
	}
}

func (m *metrics) handshake(outcome string) { m.handshakes.WithLabelValues(outcome).Inc() }

func (m *metrics) limited(l session.Limit) { m.refused.WithLabelValues(string(l)).Inc() }

func (m *metrics) flushed(took time.Duration) { m.flush.Observe(took.Seconds()) }

// closed counts an end. Peers may close with any code, so what isn't one of ours is one label.
func (m *metrics) closed(code int) {
	label := "other"
	switch code {
	case 1000, 1001, 1002, 1006, wire.CloseInternal, wire.CloseRestart,
		wire.CloseToken, wire.CloseForbidden, wire.CloseDead, wire.CloseMalformed, wire.CloseTooMany:
		label = strconv.Itoa(code)
	}
	m.closes.WithLabelValues(label).Inc()
}

// count is how many connections of one transport there are.
func count[T conn](g *Gateway) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, c := range g.conns {
		if _, ok := c.(T); ok {
			n++
		}
	}
	return float64(n)
}
