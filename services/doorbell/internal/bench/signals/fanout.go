//go:build linux

package signals

import (
	"context"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const (
	perDelivery   = "server CPU per delivery"
	lastDelivery  = "write sent → last delivery"
	burstLast     = "last change → last delivery"
	burstAll      = "first change → last delivery"
	burstPerWrite = "server CPU per change and connection"

	changes = 100 // of a burst
	rounds  = 5   // of which the median counts
)

// round is what one signal to all has cost.
type round struct {
	first, median, p99, last time.Duration // since the write was sent
	cpu                      time.Duration // per delivery
}

// signalAll writes once and waits until everybody has it.
func (b *bench) signalAll(
	ctx context.Context, at target, f *fleet.Fleet, idle float64,
) (r round, last wire.Cursor, missing int, err error) {
	cpuBefore, err := cpu(at)
	if err != nil {
		return r, last, 0, err
	}
	sent := epoll.Now()
	if last, err = at.write(ctx, feed); err != nil {
		return r, last, 0, err
	}
	a, err := f.Await(ctx, last, 30*time.Second)
	if err != nil {
		return r, last, 0, err
	}
	if err := pause(ctx, 300*time.Millisecond); err != nil { // what comes after the last delivery belongs to it as well
		return r, last, 0, err
	}
	took := epoll.Now() - sent
	cpuAfter, err := cpu(at)
	if err != nil {
		return r, last, 0, err
	}
	for i := range a.At {
		a.At[i] -= sent
	}
	of := func(p float64) time.Duration { return time.Duration(report.Percentile(a.At, p)) }
	r = round{first: of(0), median: of(50), p99: of(99), last: of(100)}
	if n := len(a.At); n > 0 {
		r.cpu = (cpuAfter - cpuBefore - time.Duration(idle*float64(took))) / time.Duration(n)
	}
	return r, last, a.Missing, nil
}

// background is the CPU time that the server takes in a second without signals: pings, mostly.
func background(ctx context.Context, at target) (float64, error) {
	const long = 3 * time.Second
	before, err := cpu(at)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := pause(ctx, long); err != nil {
		return 0, err
	}
	after, err := cpu(at)
	return float64(after-before) / float64(time.Since(began)), err
}

// fanOut measures one signal to all.
func (b *bench) fanOut(ctx context.Context, s *report.Section, at target) error {
	f := fleet.New()
	defer f.Close()
	if err := b.crowd(ctx, s, at, f); err != nil {
		return err
	}
	idle, err := background(ctx, at)
	if err != nil {
		return err
	}
	var last wire.Cursor
	var first, median, p99, latest, each []time.Duration
	for n := range 1 + rounds {
		r, cursor, missing, err := b.signalAll(ctx, at, f, idle)
		if err != nil {
			return err
		}
		if missing > 0 {
			s.Failf("%s: %d connections don't have a durable write after 30 s", at.name(), missing)
		}
		if last = cursor; n > 0 { // the first warms up
			first, median, p99 = append(first, r.first), append(median, r.median), append(p99, r.p99)
			latest, each = append(latest, r.last), append(each, r.cpu)
		}
	}
	s.Millis(at.name(), "write sent → first delivery", report.Percentile(first, 50))
	s.Millis(at.name(), "write sent → delivery, p50", report.Percentile(median, 50))
	s.Millis(at.name(), "write sent → delivery, p99", report.Percentile(p99, 50))
	s.Millis(at.name(), lastDelivery, report.Percentile(latest, 50))
	s.Set(at.name(), perDelivery, "µs", float64(report.Percentile(each, 50))/1000)
	s.Set(at.name(), "server CPU without signals", "ms a second", idle*1000)
	return b.holds(ctx, s, at, f, last)
}

// crowd opens the usual connections and lets them settle a little.
func (b *bench) crowd(ctx context.Context, s *report.Section, at target, f *fleet.Fleet) error {
	spec, err := at.spec(crowd.WebSocket, false, oneFeed)
	if err != nil {
		return err
	}
	spec.Conns = b.o.Conns
	if _, err := at.write(ctx, feed); err != nil {
		return err
	}
	if err := b.open(ctx, s, at, f, spec); err != nil {
		return err
	}
	return pause(ctx, min(b.o.Settle, 5*time.Second))
}

// burst writes many times back to back, and waits until everybody has the last.
func (b *bench) burst(ctx context.Context, s *report.Section, at target) error {
	f := fleet.New()
	defer f.Close()
	if err := b.crowd(ctx, s, at, f); err != nil {
		return err
	}
	idle, err := background(ctx, at)
	if err != nil {
		return err
	}
	status, err := f.Do(ctx, crowd.Command{Op: crowd.Tell})
	if err != nil {
		return err
	}
	cpuBefore, err := cpu(at)
	if err != nil {
		return err
	}
	began := epoll.Now()
	last, written, err := at.burst(ctx, feed, changes)
	if err != nil {
		return err
	}
	a, err := f.Await(ctx, last, time.Minute)
	if err != nil {
		return err
	}
	if err := pause(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	took := epoll.Now() - began
	cpuAfter, err := cpu(at)
	if err != nil {
		return err
	}
	for i := range a.At {
		a.At[i] -= written
	}
	s.Millis(at.name(), "first change → last change", time.Duration(written-began))
	s.Millis(at.name(), "last change → delivery, p50", time.Duration(report.Percentile(a.At, 50)))
	s.Millis(at.name(), burstLast, time.Duration(report.Percentile(a.At, 100)))
	s.Millis(at.name(), burstAll, time.Duration(report.Percentile(a.At, 100)+written-began))
	spent := cpuAfter - cpuBefore - time.Duration(idle*float64(took))
	s.Millis(at.name(), "server CPU of the burst", spent)
	s.Set(at.name(), burstPerWrite, "µs", spent.Seconds()*1e6/changes/float64(b.o.Conns))
	s.Set(at.name(), "messages per connection", "", float64(a.Status.Frames-status.Status.Frames)/float64(b.o.Conns))
	return b.holds(ctx, s, at, f, last)
}

func fanOutTargets(_ *bench, s *report.Section) {
	for _, t := range []struct {
		row    string
		factor float64
	}{{perDelivery, 1.15}, {lastDelivery, 1}} {
		got, measured := value(s, t.row, "doorbell")
		if other, ok := bestOther(s, t.row); ok && measured {
			s.AtMost(t.row+", of nchan's best", got/other, t.factor)
		}
	}
}

func burstTargets(_ *bench, s *report.Section) {
	if got, ok := value(s, burstLast, "doorbell"); ok {
		s.AtMost(burstLast+", ms", got, 1000)
	}
	if got, ok := value(s, "connections that were cut", "doorbell"); ok {
		s.AtMost("connections that were cut", got, 0)
	}
}
