//go:build linux

package signals

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const (
	oneFeed = feed
	ownFeed = ownFeeds

	// atRest is how long a server that was just started is left alone before its memory is read.
	atRest = 2 * time.Second
	// perConn is the row that the targets are about.
	perConn = "resident memory per connection"
)

// idle measures the memory of connections that only wait. The server is fresh, its garbage collector as it comes.
func idle(transport string, tls bool, follows string) func(*bench, context.Context, *report.Section, target) error {
	return func(b *bench, ctx context.Context, s *report.Section, at target) error {
		spec, err := at.spec(transport, tls, follows)
		if err != nil {
			return err
		}
		spec.Conns = b.o.Conns
		feeds := []string{follows}
		if follows == ownFeed {
			feeds = feeds[:0]
			for n := range spec.Conns {
				feeds = append(feeds, strings.Replace(ownFeeds, "{n}", strconv.Itoa(n), 1))
			}
		}
		last := make([]wire.Cursor, len(feeds))
		if _, other := at.(*nchan); !other { // which needs no feeds beforehand, and would hold memory for each
			var err error
			if last, err = writeAll(ctx, at, feeds); err != nil {
				return err
			}
		}
		if err := pause(ctx, atRest); err != nil {
			return err
		}
		before, err := memory(at)
		if err != nil {
			return err
		}
		f := fleet.New()
		defer f.Close()
		if err := b.open(ctx, s, at, f, spec); err != nil {
			return err
		}
		if err := pause(ctx, b.o.Settle); err != nil {
			return err
		}
		after, err := memory(at)
		if err != nil {
			return err
		}
		s.Set(at.name(), "resident memory before", "MiB", float64(before)/(1<<20))
		s.Set(at.name(), "resident memory with all", "MiB", float64(after)/(1<<20))
		s.Set(at.name(), perConn, "KB", float64(after-before)/1000/float64(spec.Conns))
		if follows == oneFeed {
			return b.check(ctx, s, at, f)
		}
		return b.checkOwn(ctx, s, at, f, feeds, last)
	}
}

// checkOwn writes to a tenth of the feeds, and looks whether each connection has what was written last to its own.
func (b *bench) checkOwn(ctx context.Context, s *report.Section, at target, f *fleet.Fleet, feeds []string, last []wire.Cursor) error {
	again, err := writeAll(ctx, at, feeds[:len(feeds)/10])
	if err != nil {
		return err
	}
	copy(last, again)
	var missing int
	for deadline := time.Now().Add(30 * time.Second); ; {
		a, err := f.Do(ctx, crowd.Command{Op: crowd.Heads})
		if err != nil {
			return err
		}
		missing = 0
		for i, head := range a.Heads {
			if !head.Covers(last[i]) {
				missing++
			}
		}
		if missing == 0 || time.Now().After(deadline) {
			b.closed(s, at, a.Status)
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if missing > 0 {
		s.Failf("%s: %d connections don't have the last durable write to their feed", at.name(), missing)
	}
	truth, err := at.head(ctx, feeds[0])
	if err == nil && truth.Compare(last[0]) != 0 {
		s.Failf("%s: the last write was acknowledged as %s, and the API says %s", at.name(), last[0], truth)
	}
	return err
}

// writeAll writes once to each feed, several at a time.
func writeAll(ctx context.Context, at target, feeds []string) ([]wire.Cursor, error) {
	cursors := make([]wire.Cursor, len(feeds))
	const writers = 8
	errs := make([]error, writers)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := w; i < len(feeds) && errs[w] == nil; i += writers {
				cursors[i], errs[w] = at.write(ctx, feeds[i])
			}
		})
	}
	writing.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("write to each feed: %w", err)
	}
	return cursors, nil
}

func memory(at target) (int64, error) {
	pids, err := at.pids()
	if err != nil {
		return 0, err
	}
	return stage.Memory(pids)
}

func cpu(at target) (time.Duration, error) {
	pids, err := at.pids()
	if err != nil {
		return 0, err
	}
	return stage.CPU(pids)
}

func memoryTarget(kilobytes float64) func(*bench, *report.Section) {
	return func(_ *bench, s *report.Section) {
		if got, ok := value(s, perConn, "doorbell"); ok {
			s.AtMost(perConn+", KB", got, kilobytes)
		}
	}
}

func value(s *report.Section, row, column string) (float64, bool) {
	for _, r := range s.Rows {
		if r.Name == row {
			v, ok := r.Values[column]
			return v, ok
		}
	}
	return 0, false
}

// bestOther is the smallest value of a row among the columns that aren't Doorbell's.
func bestOther(s *report.Section, row string) (best float64, ok bool) {
	for _, column := range s.Columns {
		if v, has := value(s, row, column); has && column != "doorbell" && (!ok || v < best) {
			best, ok = v, true
		}
	}
	return best, ok
}
