//go:build linux

package signals

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const (
	// slowBuffer is what clients that never read have for a receive buffer, in bytes.
	slowBuffer = 4 << 10
	// slowSource is the address that they all come from, so that the server's sockets to them can be told from others.
	slowSource = "127.9.9.9"
	// slowWrites measure latency, steadily so many a second, for slowFor at most.
	slowWrites, slowRate = 100, 10
	slowFor              = 20 * time.Second
	// mostFilling bounds how long their sockets are filled: a gateway gives up a socket that has taken nothing for 40 s, and
	// they have to read again before that.
	mostFilling = 15 * time.Second
)

// slowReaders measures what clients that never read do to those that do.
func (b *bench) slowReaders(ctx context.Context, s *report.Section, at target) error {
	readers := b.o.Conns * 2 / 3
	spec, err := at.spec(crowd.WebSocket, false, oneFeed)
	if err != nil {
		return err
	}
	spec.Conns = readers
	if _, err := at.write(ctx, feed); err != nil {
		return err
	}
	reading, slow := fleet.New(), fleet.New()
	defer reading.Close()
	defer slow.Close()
	if err := b.open(ctx, s, at, reading, spec); err != nil {
		return err
	}
	if err := pause(ctx, min(b.o.Settle, 5*time.Second)); err != nil {
		return err
	}
	const without, with = "without them", "with them"
	if err := b.steady(ctx, s, at, reading, without); err != nil {
		return err
	}
	before, err := memory(at)
	if err != nil {
		return err
	}

	d, ok := at.(*bell)
	if !ok {
		return errors.New("this is about Doorbell's gateway")
	}
	if err := d.Gateways[0].ShrinkSendBuffers(slowBuffer); err != nil {
		return err
	}
	// What fills their sockets are signals of feeds that they alone follow, with names as long as names may be.
	for n := range 8 {
		spec.Also = append(spec.Also, fmt.Sprintf("bench:%0122d", n))
	}
	spec.Conns, spec.Mute, spec.Receive, spec.Source, spec.Sources = readers/10, true, slowBuffer, slowSource, 1
	if a, err := slow.Open(ctx, spec, time.Minute); err != nil || a.Missing > 0 {
		return fmt.Errorf("%d of the slow connections were not opened: %w", a.Missing, err)
	}
	opened, err := memory(at)
	if err != nil {
		return err
	}
	full, writes := 0, 0
	for filling := time.Now(); time.Since(filling) < mostFilling && full < spec.Conns; writes++ {
		if _, err = at.write(ctx, spec.Also[writes%len(spec.Also)]); err != nil {
			return err
		}
		if writes%20 == 19 {
			if full, err = fullSockets(); err != nil {
				return err
			}
		}
	}
	s.Set(with, "clients that never read", "", float64(spec.Conns))
	s.Set(with, "of which the server's socket is full", "", float64(full))
	s.Set(with, "changes that it took to fill them", "", float64(writes))
	s.AtLeast("sockets that are full, of the clients that never read", float64(full)/float64(spec.Conns), 0.9)
	filled, err := memory(at)
	if err != nil {
		return err
	}
	if err := b.steady(ctx, s, at, reading, with); err != nil {
		return err
	}
	after, err := memory(at)
	if err != nil {
		return err
	}
	mib := func(bytes int64) float64 { return float64(bytes) / (1 << 20) }
	s.Set(without, "resident memory", "MiB", mib(before))
	s.Set(with, "resident memory", "MiB", mib(after))
	s.Set(with, "resident memory when they had come, and were full", "MiB", mib(filled))
	s.Notef("the slow ones came: %.1f MiB more; their sockets filled: %.1f; the writes after that: %.1f",
		mib(opened-before), mib(filled-opened), mib(after-filled))
	p99 := func(column string) float64 { v, _ := value(s, steadyP99, column); return v }
	s.AtMost("p99 of those that read, of that without the others", p99(with)/p99(without), 1.5)

	if _, err := slow.Do(ctx, crowd.Command{Op: crowd.Listen}); err != nil {
		return err
	}
	began := time.Now()
	last, err := at.head(ctx, feed)
	if err != nil {
		return err
	}
	a, err := slow.Await(ctx, last, time.Minute)
	if err != nil {
		return err
	}
	s.Millis(with, "they read again → each has the last version", time.Since(began))
	if a.Missing > 0 {
		s.Failf("%d of those that read again don't have the last durable write", a.Missing)
	}
	if len(a.Status.Closed) > 0 {
		s.Notef("ends of the slow ones by close code: %v", a.Status.Closed)
	}
	return b.check(ctx, s, at, reading)
}

const steadyP99 = "write sent → delivery, p99"

// steady writes at a steady rate, and notes when those that read had each write.
func (b *bench) steady(ctx context.Context, s *report.Section, at target, f *fleet.Fleet, column string) error {
	var all []int64
	spentBefore, err := cpu(at)
	if err != nil {
		return err
	}
	deliveries := 0
	began := time.Now()
	for n := 0; n < slowWrites && time.Since(began) < slowFor; n++ {
		next := time.Now().Add(time.Second / slowRate)
		sent := epoll.Now()
		var last wire.Cursor
		if last, err = at.write(ctx, feed); err != nil {
			return err
		}
		a, err := f.Await(ctx, last, 30*time.Second)
		if err != nil {
			return err
		}
		if a.Missing > 0 {
			s.Failf("%s: %d connections don't have a durable write after 30 s", column, a.Missing)
		}
		deliveries += len(a.At)
		for _, moment := range a.At {
			all = append(all, moment-sent)
		}
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	spent, err := cpu(at)
	if err != nil {
		return err
	}
	for _, p := range []float64{50, 99} {
		s.Millis(column, fmt.Sprintf("write sent → delivery, p%.0f", p), time.Duration(report.Percentile(all, p)))
	}
	s.Millis(column, "write sent → delivery, max", time.Duration(report.Percentile(all, 100)))
	s.Set(column, perDelivery, "µs", float64((spent-spentBefore).Microseconds())/float64(deliveries))
	return nil
}

// fullSockets counts the server's sockets to the slow clients that take nothing more.
func fullSockets() (int, error) {
	queues, err := stage.SendQueues(netip.MustParseAddr(slowSource))
	if err != nil {
		return 0, err
	}
	full := 0
	for _, q := range queues {
		if q.Full() {
			full++
		}
	}
	return full, nil
}
