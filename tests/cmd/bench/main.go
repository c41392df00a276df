//go:build unix

// Command bench measures Doorbell as users run it, over HTTP and WebSocket: `doorbell dev` with SQLite on this machine's
// disk, and its services on a Postgres and a Redis of the bench's own. Beside the figures it prints what they rest on,
// measured in the same run: the disk's sync, and bare round trips.
//
// A missed target is printed and is no failure, because machines differ. It fails when it can't measure, or when a
// client ends with something else than what was written.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what all sections are given.
type options struct {
	bin    string
	writes int
}

// section is a part of the bench that can be run alone.
type section struct {
	name  string
	limit time.Duration // it is given up after that: nobody should have to end a bench by hand
	run   func(ctx context.Context, out io.Writer, o options) error
}

func sections() []section {
	return []section{
		{"dev", 10 * time.Minute, benchDev},
		{"idle", 10 * time.Minute, benchIdle},
		{"load", 3 * time.Minute, benchLoad},
		{"feeds", 5 * time.Minute, benchFeeds},
	}
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/doorbell", "the binary to measure")
	flag.IntVar(&o.writes, "writes", 500, "how many writes to make, in dev and in idle")
	only := flag.String("only", "", "the sections to run, such as idle,load; all of them: "+strings.Join(names(), ","))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Stdout, *only, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for _, s := range sections() {
		all = append(all, s.name)
	}
	return all
}

func bench(ctx context.Context, out io.Writer, only string, o options) error {
	if o.writes < 1 {
		return fmt.Errorf("-writes is %d; allowed: 1 or more", o.writes)
	}
	wanted := names()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only has %q; allowed: %s", name, strings.Join(names(), ", "))
		}
	}
	var failed []error
	for _, s := range sections() {
		if !slices.Contains(wanted, s.name) || ctx.Err() != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, s.limit)
		// The next section has servers of its own, so it can still be measured when this one can't.
		if err := s.run(limited, out, o); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
		cancel()
	}
	return errors.Join(append(failed, ctx.Err())...)
}
