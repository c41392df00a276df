//go:build linux

// Package signals measures what `doorbell bench signals` measures: the gateway with many connections, and nchan with the same
// work beside it. A scenario starts servers of its own for each of what it compares, opens connections from crowds in
// other processes, writes through the API (so that what is signalled is durable), and in the end looks whether each
// connection's last cursor covers the last write.
package signals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/pkg/testkit/caches"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// Options are what the bench is told.
type Options struct {
	// Only are the scenarios to run; none: all.
	Only []string
	// Against is what to measure: "doorbell", "nchan".
	Against []string
	// Conns is how many connections one server process holds. Other numbers of connections are in proportion to it.
	Conns int
	// Workers are the numbers of nginx's processes to measure nchan with.
	Workers []int
	// Settle is how long memory settles before it is read.
	Settle time.Duration
	// Churn is how long connections come and go.
	Churn time.Duration
}

// Defaults are the project's own figures. nchan is measured with one process and with as many as there are processors, which
// is what Debian's nginx has: whichever is better is what Doorbell is held against.
func Defaults() Options {
	return Options{
		Against: []string{"doorbell", "nchan"}, Conns: 15_000, Workers: slices.Compact([]int{1, runtime.NumCPU()}),
		Settle: 30 * time.Second, Churn: 5 * time.Minute,
	}
}

// scenario is a part of the bench that can be run alone.
type scenario struct {
	name, what string
	limit      time.Duration // for each server that is measured: nobody should have to end a bench by hand
	alone      bool          // nchan isn't measured
	run        func(*bench, context.Context, *report.Section, target) error
	conclude   func(*bench, *report.Section) // may be nil
}

func scenarios() []scenario {
	const minutes = time.Minute
	return []scenario{
		{"idle-one-feed", "connections that follow one feed", 5 * minutes, false, idle(crowd.WebSocket, false, oneFeed), memoryTarget(7)},
		{"idle-own-feed", "connections with a feed each", 6 * minutes, false, idle(crowd.WebSocket, false, ownFeed), memoryTarget(9)},
		{"idle-sse", "connections by SSE that follow one feed", 5 * minutes, false, idle(crowd.Events, false, oneFeed), nil},
		{"idle-tls", "connections over TLS that follow one feed", 8 * minutes, false, idle(crowd.WebSocket, true, oneFeed), nil},
		{"fan-out", "one signal to all, median of 5", 4 * minutes, false, (*bench).fanOut, fanOutTargets},
		{"burst", "100 changes back to back", 5 * minutes, false, (*bench).burst, burstTargets},
		{"slow-readers", "clients that never read, among ten times as many that do", 8 * minutes, true, (*bench).slowReaders, nil},
		{"six-gateways", "six gateway processes and one Redis", 10 * minutes, true, (*bench).sixGateways, nil},
		{"drain", "one of two gateways is drained under writes", 8 * minutes, true, (*bench).drain, nil},
		{"churn", "connections come and go", 15 * minutes, true, (*bench).churn, nil},
	}
}

// Names are the scenarios' names.
func Names() []string {
	var all []string
	for _, s := range scenarios() {
		all = append(all, s.name)
	}
	return all
}

// Validate joins all that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			errs = append(errs, fmt.Errorf("--only has %q; allowed: %s", name, strings.Join(Names(), ", ")))
		}
	}
	for _, name := range o.Against {
		if name != "doorbell" && name != "nchan" {
			errs = append(errs, fmt.Errorf("--against has %q; allowed: doorbell, nchan", name))
		}
	}
	if o.Conns < 10 || o.Conns > 18_000 {
		errs = append(errs, fmt.Errorf("--conns is %d; allowed: 10 to 18000, for a process has descriptors for so many", o.Conns))
	}
	for _, n := range o.Workers {
		if n < 1 || n > 64 {
			errs = append(errs, fmt.Errorf("--nchan-workers has %d; allowed: 1 to 64", n))
		}
	}
	if o.Settle < 0 || o.Settle > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--settle is %s; allowed: 0 to 10m", o.Settle))
	}
	if o.Churn < 10*time.Second || o.Churn > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--churn-for is %s; allowed: 10s to 10m", o.Churn))
	}
	return errors.Join(errs...)
}

// bench is one run.
type bench struct {
	o   Options
	out io.Writer // for what is going on
}

// Run runs the scenarios one after the other and prints each as it is done. What could not be measured and what is wrong makes
// an error in the end; a missed target doesn't.
func Run(ctx context.Context, out, progress io.Writer, r *report.Report, o Options) error {
	b := &bench{o: o, out: progress}
	var errs []error
	for _, s := range scenarios() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, s.name) || ctx.Err() != nil {
			continue
		}
		section := r.Section(s.name, s.what)
		for _, setUp := range b.targets(s) {
			limited, cancel := context.WithTimeout(ctx, s.limit)
			err := testkit.Run(func(t testkit.TB) error {
				at, err := setUp(t)
				if err != nil {
					return err
				}
				b.sayf("%s: %s", s.name, at.name())
				return at.explain(s.run(b, limited, section, at))
			})
			cancel()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
				section.Notef("could not be measured to the end: %.300s", err)
			}
		}
		if s.conclude != nil {
			s.conclude(b, section)
		}
		section.Print(out)
	}
	return errors.Join(append(errs, r.Failed(), ctx.Err())...)
}

func (b *bench) sayf(format string, args ...any) { fmt.Fprintf(b.out, "… "+format+"\n", args...) }

// targets makes what a scenario measures, one at a time.
func (b *bench) targets(s scenario) []func(testkit.TB) (target, error) {
	var all []func(testkit.TB) (target, error)
	if slices.Contains(b.o.Against, "doorbell") {
		all = append(all, func(t testkit.TB) (target, error) { return newDoorbell(t, s) })
	}
	if slices.Contains(b.o.Against, "nchan") && !s.alone {
		for _, workers := range b.o.Workers {
			all = append(all, func(t testkit.TB) (target, error) { return newNchan(t, workers) })
		}
	}
	return all
}

// open opens connections and notes how that went. Connections that could not be opened are wrong.
func (b *bench) open(ctx context.Context, s *report.Section, at target, f *fleet.Fleet, specs ...crowd.Spec) error {
	conns := 0
	for _, spec := range specs {
		conns += spec.Conns
	}
	a, err := f.OpenAll(ctx, specs, 3*time.Minute)
	if err != nil {
		return err
	}
	s.Set(at.name(), "connections", "", float64(conns-a.Missing))
	s.Set(at.name(), "connects a second, subscribed", "", float64(conns)/a.Took.Seconds())
	if a.Status.Busy > 0 {
		s.Set(at.name(), "handshakes told to come later (503)", "", float64(a.Status.Busy))
	}
	if a.Missing > 0 {
		s.Failf("%s: %d of %d connections were not opened: %s", at.name(), a.Missing, conns, strings.Join(a.Status.Problems, "; "))
		return fmt.Errorf("%d connections were not opened", a.Missing)
	}
	return nil
}

// check writes once more and fails the section if a connection that listens doesn't come to hold that.
func (b *bench) check(ctx context.Context, s *report.Section, at target, f *fleet.Fleet) error {
	last, err := at.write(ctx, feed)
	if err != nil {
		return err
	}
	return b.holds(ctx, s, at, f, last)
}

func (b *bench) holds(ctx context.Context, s *report.Section, at target, f *fleet.Fleet, last wire.Cursor) error {
	truth, err := at.head(ctx, feed)
	if err != nil {
		return err
	}
	if truth.Compare(last) != 0 {
		s.Failf("%s: the last write was acknowledged as %s, and the API says %s", at.name(), last, truth)
	}
	a, err := f.Await(ctx, last, 30*time.Second)
	if err != nil {
		return err
	}
	if a.Missing > 0 {
		s.Failf("%s: %d connections don't have the last durable write", at.name(), a.Missing)
	}
	b.closed(s, at, a.Status)
	return nil
}

// closed notes connections that were ended without being asked to.
func (b *bench) closed(s *report.Section, at target, status crowd.Status) {
	n := sum(status.Closed)
	s.Set(at.name(), "connections that were cut", "", float64(n))
	if n > 0 {
		s.Notef("%s: ends by close code: %v", at.name(), status.Closed)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Heading fills in what a report of this bench says of the machine.
func Heading(o Options) *report.Report {
	r := &report.Report{Bench: "signals", Began: time.Now(), Machine: stage.Machine()}
	if nginx, err := caches.FindNginx(); err == nil && slices.Contains(o.Against, "nchan") {
		r.Versions = append(r.Versions, stage.Version(nginx, "-v")+", nchan "+stage.PackageVersion("libnginx-mod-nchan"))
	}
	return r
}
