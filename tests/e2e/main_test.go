// Package e2e tests Doorbell from outside, as the built binary: processes, signals, HTTP, sockets and the shell.
package e2e

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
