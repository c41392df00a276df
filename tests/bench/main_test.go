//go:build linux

package bench

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
