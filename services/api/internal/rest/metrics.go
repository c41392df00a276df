package rest

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// metrics counts what is done. Counters that are needed for each request are looked up beforehand.
type metrics struct {
	requests    *prometheus.CounterVec
	readsVec    *prometheus.CounterVec
	reads       [window.Database + 1]prometheus.Counter
	notModified prometheus.Counter
	resets      prometheus.Counter
	queries     *prometheus.HistogramVec
	limited     *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorbell_api_requests_total", Help: "Requests by route and class of status.",
		}, []string{"route", "class"}),
		notModified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorbell_api_not_modified_total", Help: "Reads answered with 304.",
		}),
		resets: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorbell_api_resets_total", Help: "Reads answered with 410: the client has to start over.",
		}),
		queries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "doorbell_api_query_seconds", Help: "How long calls of the database take, by call.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"call"}),
	}
	m.limited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorbell_api_limited_total",
		Help: "Requests whose client has a limit, by the budget they were taken from, and whether there was enough of it.",
	}, []string{"budget", "outcome"})
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorbell_api_reads_total",
		Help: "Reads of snapshots and changes by where the answer came from: memory, somebody else's question, the database.",
	}, []string{"from"})
	for from, name := range map[window.Source]string{
		window.Memory: "memory", window.Coalesced: "coalesced", window.Database: "database",
	} {
		m.reads[from] = reads.WithLabelValues(name)
	}
	m.readsVec = reads
	return m
}

// register puts all of them, and what can be read off the server, into r.
func (s *Server) register(r prometheus.Registerer) error {
	m := s.metrics
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "doorbell_api_" + name, Help: help}, value)
	}
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "doorbell_api_" + name, Help: help}, value)
	}
	all := []prometheus.Collector{
		m.requests, m.readsVec, m.notModified, m.resets, m.queries,
		gauge("long_polls", "Long polls that wait for news.", func() float64 { return float64(s.windows.Parked()) }),
		gauge("floor_waiting", "Reads that wait for their at_least.", func() float64 { return float64(s.windows.Waiting()) }),
		counter("floor_waits_total", "Reads that had to wait for their at_least.", func() float64 { return float64(s.windows.Waits()) }),
		gauge("cached_feeds", "Feeds held in memory.", func() float64 { return float64(s.windows.Feeds()) }),
		gauge("cache_bytes", "About how much memory they take.", func() float64 { return float64(s.windows.Bytes()) }),
		gauge("database_calls", "Calls of the database under way.", func() float64 { return float64(s.gate.Busy()) }),
		gauge("database_queue", "Calls of the database that wait for a place.", func() float64 { return float64(s.gate.Waiting()) }),
		counter("database_refused_total", "Calls of the database that were refused because it had enough to do.",
			func() float64 { return float64(s.gate.Refused()) }),
	}
	if s.limits != nil {
		all = append(all, m.limited)
	}
	if s.limits != nil && s.limits.redis != nil {
		all = append(all, gauge("limits_shared", "1: limits count what other nodes let through; 0: Redis doesn't answer.", func() float64 {
			if s.limits.Sharing() {
				return 1
			}
			return 0
		}))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) queried(call string, took time.Duration) {
	m.queries.WithLabelValues(call).Observe(took.Seconds())
}

// counted counts the requests of one route.
func (s *Server) counted(route string) gin.HandlerFunc {
	var classes [6]prometheus.Counter
	for i, class := range []string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		classes[i] = s.metrics.requests.WithLabelValues(route, class)
	}
	return func(c *gin.Context) {
		c.Next()
		status := c.Writer.Status()
		if status == statusWaits { // it is counted when it is answered
			return
		}
		class := status / 100
		if class < 1 || class > 5 {
			class = 0
		}
		classes[class].Inc()
		if status == http.StatusNotModified {
			s.metrics.notModified.Inc()
		}
	}
}
