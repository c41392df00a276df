//go:build linux

package stage

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/baseline"
)

// NewBaseline starts the bare Gin, and returns when it serves. Its Listen is chosen here.
func NewBaseline(t testkit.TB, c baseline.Config) (*Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the binary: %w", err)
	}
	if c.Listen, err = FreeAddr(); err != nil {
		return nil, err
	}
	config, leash, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer config.Close()
	t.Cleanup(func() { leash.Close() })
	// `bench baseline` ends with its input, whose other end is ours.
	s, err := launchReading(t, config, "baseline", c.Listen, syscall.SIGKILL, self, "bench", baseline.Command)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(leash).Encode(c); err != nil {
		return nil, fmt.Errorf("tell the baseline what to serve: %w", err)
	}
	return s, s.waitReady("/healthz")
}
