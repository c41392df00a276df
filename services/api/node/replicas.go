package node

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
)

// countReplicas registers what came of asking read replicas.
func countReplicas(r prometheus.Registerer, stats func() gormstore.ReplicaStats) error {
	var errs []error
	for outcome, count := range map[string]func(gormstore.ReplicaStats) int64{
		"answered": func(s gormstore.ReplicaStats) int64 { return s.Answered },
		"behind":   func(s gormstore.ReplicaStats) int64 { return s.Behind },
		"failed":   func(s gormstore.ReplicaStats) int64 { return s.Failed },
	} {
		errs = append(errs, r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "doorbell_api_replica_reads_total",
			Help:        "Reads that a replica was asked for; those it was behind for, or failed, the primary answered.",
			ConstLabels: prometheus.Labels{"outcome": outcome},
		}, func() float64 { return float64(count(stats())) })))
	}
	return errors.Join(errs...)
}
