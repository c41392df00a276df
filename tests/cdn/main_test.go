//go:build unix

// Package cdn tests what the shipped caches (nginx, Varnish) make of Doorbell's answers: that a crowd reaches the origin once, and
// that nothing is kept that must not be. From outside: packaged servers, the built binary, Postgres and Redis.
package cdn

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		doorbelltest.Clean()
		os.Exit(code)
	}))
}
