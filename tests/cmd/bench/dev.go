//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// signalTarget is what write → signal is meant to stay below, at the 99th percentile.
const signalTarget = 10 * time.Millisecond

// benchDev measures write to signal on `doorbell dev`.
func benchDev(ctx context.Context, out io.Writer, o options) error {
	folder, err := os.MkdirTemp("", "doorbell-bench.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	synced, err := measureSync(folder, 200)
	if err != nil {
		return fmt.Errorf("measure the disk: %w", err)
	}
	dev, err := process.StartDev(o.bin, nil, "--data", folder)
	if err != nil {
		return err
	}
	defer dev.Kill()
	r, err := measure(ctx, dev.URL(), dev.URL(), "", o.writes)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, dev.Log())
	}
	if code, err := dev.Stop(15 * time.Second); err != nil || code != 0 {
		return fmt.Errorf("stop doorbell dev: exit code %d, %w", code, err)
	}

	heading(out, "dev", fmt.Sprintf("`doorbell dev`, %d writes, one at a time, 5 to 20 ms apart; one WebSocket follows", o.writes))
	columns(out)
	r.rows(out)
	fmt.Fprintln(out, "  for comparison, in the same run:")
	row(out, "4 KiB appended and "+syncName, synced)
	row(out, "GET /healthz, there and back", r.roundTrip)
	fmt.Fprintln(out)
	verdict(out, "write → signal p99", signalTarget, percentile(r.toSignal, 99))
	fmt.Fprintln(out, `To repeat it: make bench ARGS="-only dev" (more writes: -writes 5000). Negative: the signal came first.`)
	return nil
}

func (r results) rows(out io.Writer) {
	row(out, "write sent → signal received", r.toSignal)
	row(out, "write acknowledged → signal", r.fromAnswer)
	row(out, "write sent → acknowledged", r.toAnswer)
}
