// Package telemetry is what operators see of a process and the public doesn't: metrics and profiles, on an address of
// its own.
//
//	t := telemetry.New()
//	gateway.New(gateway.Options{Metrics: t.Registerer(), …})
//	stack.Add(t.Part("127.0.0.1:9090", log, stack.Fail))
//
//	/metrics         in Prometheus's text format: the services' own, Go's and the process's
//	/debug/pprof/…   net/http/pprof's profiles, each of at most a minute
//	/healthz         alive
package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/doorbell-sync/doorbell/pkg/httphost"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
)

// Telemetry is one process's. It is safe for concurrent use.
type Telemetry struct {
	registry *prometheus.Registry // static
}

// New makes one that knows of Go's runtime, the process and the build.
func New() *Telemetry {
	t := &Telemetry{registry: prometheus.NewRegistry()}
	t.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return t
}

// Registerer is where services register their metrics.
func (t *Telemetry) Registerer() prometheus.Registerer { return t.registry }

// Handler serves what the package's doc lists. It is not for the public: profiles tell what is in memory, and take
// time.
func (t *Telemetry) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{Registry: t.registry}))
	mux.HandleFunc("GET /healthz", httphost.Alive)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Part serves Handler on an address, "host:port", while the process runs; on "" it does nothing. It is to be the first
// part of a process, so that a start and a stop can be watched. fail is told when serving ends by itself.
func (t *Telemetry) Part(address string, log *slog.Logger, fail func(error)) lifecycle.Part {
	if address == "" {
		return lifecycle.Part{Name: "telemetry"}
	}
	server := httphost.New(address, t.Handler(), log)
	part := server.Part(fail)
	start := part.Start
	part.Name = "telemetry"
	part.Start = func(ctx context.Context) error {
		if err := start(ctx); err != nil {
			return err
		}
		log.Info("metrics and profiles are served", "url", server.URL())
		return nil
	}
	return part
}
