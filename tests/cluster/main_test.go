//go:build unix

// Package cluster tests Doorbell as it is deployed: two APIs, two gateways and a worker on a real Postgres and a real Redis,
// behind nginx; and what becomes of it when any of them fails. From outside, as the built binary.
package cluster

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		cluster.Clean()
		doorbelltest.Clean()
		os.Exit(code)
	}))
}
