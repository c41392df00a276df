//go:build linux

package signals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// sixGateways measures one feed that everybody follows, over as many gateways as 90,000 connections need.
func (b *bench) sixGateways(ctx context.Context, s *report.Section, at target) error {
	d, ok := at.(*bell)
	if !ok {
		return errors.New("only Doorbell has several gateways")
	}
	if _, err := at.write(ctx, feed); err != nil {
		return err
	}
	if err := pause(ctx, atRest); err != nil {
		return err
	}
	before, err := memory(at)
	if err != nil {
		return err
	}
	var specs []crowd.Spec
	for _, g := range d.Gateways {
		spec, err := at.spec(crowd.WebSocket, false, oneFeed)
		if err != nil {
			return err
		}
		spec.Targets, spec.Conns = []string{g.Addr}, b.o.Conns
		specs = append(specs, spec)
	}
	f := fleet.New()
	defer f.Close()
	if err := b.open(ctx, s, at, f, specs...); err != nil {
		return err
	}
	if err := pause(ctx, b.o.Settle); err != nil {
		return err
	}
	after, err := memory(at)
	if err != nil {
		return err
	}
	idle, err := background(ctx, at)
	if err != nil {
		return err
	}
	s.Set(at.name(), perConn, "KB", float64(after-before)/1000/float64(b.o.Conns*len(specs)))
	var latest, each []time.Duration
	var last wire.Cursor
	for range rounds {
		r, cursor, missing, err := b.signalAll(ctx, at, f, idle)
		if err != nil {
			return err
		}
		if missing > 0 {
			s.Failf("%d connections don't have a durable write after 30 s", missing)
		}
		last, latest, each = cursor, append(latest, r.last), append(each, r.cpu)
	}
	s.Millis(at.name(), lastDelivery, report.Percentile(latest, 50))
	s.Set(at.name(), perDelivery, "µs", float64(report.Percentile(each, 50))/1000)
	s.Notef("the memory is the sum of the gateways' proportional sets: they share the binary's own pages")
	return b.holds(ctx, s, at, f, last)
}

// drain stops one of two gateways under writes and looks how its connections come to the other.
func (b *bench) drain(ctx context.Context, s *report.Section, at target) error {
	d, ok := at.(*bell)
	if !ok || len(d.Gateways) != 2 {
		return errors.New("this needs two gateways")
	}
	spec, err := at.spec(crowd.WebSocket, false, oneFeed)
	if err != nil {
		return err
	}
	// Half of them on each gateway would be 10,000 in all: here it is 10,000 that have to go.
	spec.Conns, spec.Together = b.o.Conns*2/3, true
	if _, err := at.write(ctx, feed); err != nil {
		return err
	}
	f := fleet.New()
	defer f.Close()
	if err := b.open(ctx, s, at, f, spec); err != nil {
		return err
	}
	if _, err := f.Do(ctx, crowd.Command{Op: crowd.Reconnect}); err != nil {
		return err
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	wrote := make(chan error, 1)
	go func() {
		for {
			if _, err := at.write(writing, feed); err != nil {
				wrote <- err
				return
			}
			if pause(writing, 50*time.Millisecond) != nil {
				wrote <- nil
				return
			}
		}
	}()
	began := time.Now()
	d.Gateways[0].Terminate()
	select {
	case <-d.Gateways[0].Done():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * time.Minute):
		s.Failf("the gateway didn't end within 3 minutes")
	}
	s.Set(at.name(), "SIGTERM → the gateway has ended", "s", time.Since(began).Seconds())
	stop()
	if err := <-wrote; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	last, err := at.write(ctx, feed)
	if err != nil {
		return err
	}
	// Clients that were cut wait for up to 30 s.
	a, err := f.Await(ctx, last, time.Minute)
	if err != nil {
		return err
	}
	if a.Missing > 0 {
		s.Failf("%d connections don't have the last durable write", a.Missing)
	}
	reconnects(s, at.name(), a.Status, spec.Conns)
	if truth, err := at.head(ctx, feed); err != nil || truth.Compare(last) != 0 {
		s.Failf("the last write was acknowledged as %s, and the API says %s (%v)", last, truth, err)
	}
	return nil
}

// reconnects notes how evenly connections came back.
func reconnects(s *report.Section, column string, status crowd.Status, conns int) {
	at := status.Reconnects
	s.Set(column, "reconnects", "", float64(len(at)))
	s.Set(column, "goaways", "", float64(status.GoAways))
	s.Set(column, "connections that were cut", "", float64(sum(status.Closed)))
	s.Notef("ends by close code: %v", status.Closed)
	if len(at) == 0 {
		s.Failf("nobody reconnected")
		return
	}
	var perSecond []int
	for _, moment := range at {
		second := int((moment - at[0]) / int64(time.Second))
		for len(perSecond) <= second {
			perSecond = append(perSecond, 0)
		}
		perSecond[second]++
	}
	s.Notef("reconnects in each second since the first: %v", perSecond)
	// The server spreads goaways over a window of its own, and each client takes some time after that.
	window := float64(at[len(at)-1]-at[0]) / float64(time.Second)
	s.AtLeast("connections that were told to go away in time, of all", float64(status.GoAways)/float64(conns), 1)
	s.Set(column, "within which each client was to go", "s", status.Window.Seconds())
	s.Set(column, "first reconnect → last reconnect", "s", window)
	s.Set(column, "reconnects in the busiest second", "", float64(slices.Max(perSecond)))
	if window > 0 {
		s.AtMost("busiest second, of the mean over the window", float64(slices.Max(perSecond))/(float64(conns)/window), 2)
	}
}

func sum(counts map[int]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// churn lets connections come and go, and samples memory meanwhile.
func (b *bench) churn(ctx context.Context, s *report.Section, at target) error {
	spec, err := at.spec(crowd.WebSocket, false, oneFeed)
	if err != nil {
		return err
	}
	spec.Conns = b.o.Conns / 3
	if _, err := at.write(ctx, feed); err != nil {
		return err
	}
	f := fleet.New()
	defer f.Close()
	if err := b.open(ctx, s, at, f, spec); err != nil {
		return err
	}
	rate := spec.Conns / 10
	if _, err := f.Do(ctx, crowd.Command{Op: crowd.Churn, Rate: rate}); err != nil {
		return err
	}
	var samples []float64
	every := min(10*time.Second, b.o.Churn/10)
	for deadline := time.Now().Add(b.o.Churn); time.Now().Before(deadline); {
		if err := pause(ctx, every+rand.N(time.Millisecond)); err != nil {
			return err
		}
		if _, err := at.write(ctx, feed); err != nil {
			return err
		}
		now, err := memory(at)
		if err != nil {
			return err
		}
		samples = append(samples, float64(now)/(1<<20))
	}
	if _, err := f.Do(ctx, crowd.Command{Op: crowd.Churn}); err != nil {
		return err
	}
	var text []byte
	for _, sample := range samples {
		text = fmt.Appendf(text, " %.1f", sample)
	}
	s.Set(at.name(), "connections replaced a second", "", float64(rate))
	s.Notef("resident memory in MiB, every %s:%s", every.Round(time.Second), text)
	// Flat: what it had in the last third is what it had in the second, but for a tenth.
	third := len(samples) / 3
	second, final := slices.Max(samples[third:2*third]), slices.Max(samples[2*third:])
	s.Set(at.name(), "resident memory at most, second third of the time", "MiB", second)
	s.Set(at.name(), "resident memory at most, last third of the time", "MiB", final)
	s.AtMost("last third, of the second", final/second, 1.1)
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return b.check(ctx, s, at, f)
}
