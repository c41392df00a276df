package node

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
)

func TestReplicasAreCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	stats := gormstore.ReplicaStats{Answered: 3, Behind: 2, Failed: 1}
	if err := countReplicas(r, func() gormstore.ReplicaStats { return stats }); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP doorbell_api_replica_reads_total Reads that a replica was asked for; those it was behind for, or failed, the primary answered.
# TYPE doorbell_api_replica_reads_total counter
doorbell_api_replica_reads_total{outcome="answered"} 3
doorbell_api_replica_reads_total{outcome="behind"} 2
doorbell_api_replica_reads_total{outcome="failed"} 1
`)); err != nil {
		t.Error(err)
	}
}
