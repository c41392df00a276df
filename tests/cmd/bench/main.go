// Command bench measures how long it takes from a write to the signal that rings for it, on `doorbell dev` as users
// start it: over HTTP and WebSocket, with SQLite on this machine's disk. Beside the figures it prints what they rest on,
// measured in the same run: the disk's sync and a bare HTTP round trip.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// target is what write → signal is meant to stay below, at the 99th percentile.
const target = 10 * time.Millisecond

func main() {
	bin := flag.String("bin", "bin/doorbell", "the binary to measure")
	writes := flag.Int("writes", 500, "how many writes to make")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Stdout, *bin, *writes)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, out io.Writer, bin string, writes int) error {
	if writes < 1 {
		return fmt.Errorf("-writes is %d; allowed: 1 or more", writes)
	}
	folder, err := os.MkdirTemp("", "doorbell-bench.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	synced, err := measureSync(folder, 200)
	if err != nil {
		return fmt.Errorf("measure the disk: %w", err)
	}

	dev, err := process.StartDev(bin, nil, "--data", folder)
	if err != nil {
		return err
	}
	defer dev.Kill()
	r, err := measure(ctx, dev.URL(), writes)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, dev.Log())
	}
	if code, err := dev.Stop(15 * time.Second); err != nil || code != 0 {
		return fmt.Errorf("stop doorbell dev: exit code %d, %w", code, err)
	}
	report(out, synced, r)
	return nil
}

func report(out io.Writer, synced []time.Duration, r results) {
	line := func(name string, took []time.Duration) {
		fmt.Fprintf(out, "  %-34s %7s %7s %7s %7s\n", name,
			ms(percentile(took, 50)), ms(percentile(took, 90)), ms(percentile(took, 99)), ms(percentile(took, 100)))
	}
	fmt.Fprintf(out, "%d writes, one at a time, 5 to 20 ms apart; one WebSocket follows. In ms:\n\n", len(r.toSignal))
	fmt.Fprintf(out, "  %-34s %7s %7s %7s %7s\n", "", "p50", "p90", "p99", "max")
	line("write sent → signal received", r.toSignal)
	line("write acknowledged → signal", r.fromAnswer)
	line("write sent → acknowledged", r.toAnswer)
	fmt.Fprintln(out, "\n  for comparison, in the same run:")
	line("4 KiB appended and "+syncName, synced)
	line("GET /healthz, there and back", r.roundTrip)
	p99, verdict := percentile(r.toSignal, 99), "met"
	if p99 >= target {
		verdict = "missed"
	}
	fmt.Fprintf(out, "\nTarget: write → signal p99 below %d ms: %s (%s ms).\n", target.Milliseconds(), verdict, ms(p99))
	fmt.Fprintln(out, "To repeat it: make bench (more writes: make bench ARGS=\"-writes 5000\"). Negative: the signal came first.")
}
