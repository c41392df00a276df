//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
)

// benchIdle measures write to signal through Postgres and Redis, with nothing else to do.
func benchIdle(ctx context.Context, out io.Writer, o options) error {
	return withPlatform(o.bin, "", func(p *platform) error {
		b, err := p.baselines()
		if err != nil {
			return err
		}
		r, err := measure(ctx, p.api.url(), p.gateway.url(), platformKey, o.writes)
		if err != nil {
			return err
		}
		heading(out, "idle", fmt.Sprintf(
			"Postgres and Redis; one API, one gateway, one worker; %d writes, one at a time, 5 to 20 ms apart; "+
				"one WebSocket follows", o.writes))
		columns(out)
		r.rows(out)
		b.rows(out)
		row(out, "GET /healthz of the API, there and back", r.roundTrip)
		fmt.Fprintln(out)
		verdict(out, "write → signal p99", signalTarget, percentile(r.toSignal, 99))
		fmt.Fprintln(out, `To repeat it: make bench ARGS="-only idle" (more writes: -writes 5000). Negative: the signal came first.`)
		return nil
	})
}
