package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// batch is one write as its writer knows it.
type batch struct {
	unique []string // keys of its own, which nothing else ever writes
	size   int      // changes in all
	acked  bool
	first  int64 // acknowledged ones only
	last   int64
}

// writer writes batches one after the other, and remembers what it was told. Each has unique keys, moves a key that
// all of the writer's batches share, puts a temporary key, and deletes the temporary key of the batch before.
type writer struct {
	name   string
	feed   string
	client *doorbell.Client

	// Owned by the goroutine in run, or by the test while none runs.
	batches []batch
	temp    string // to delete next: put by an acknowledged batch, so deleting it is a change for sure
}

// run writes until ctx ends or the server is gone. Then the outcome of its last batch is unknown, which is no error.
func (w *writer) run(ctx context.Context, acks *atomic.Int64) error {
	for ctx.Err() == nil {
		n := len(w.batches)
		b := batch{size: 1 + n%7}
		var changes []doorbell.Change
		for i := range b.size {
			key := fmt.Sprintf("%s-%06d-%d", w.name, n, i)
			b.unique = append(b.unique, key)
			changes = append(changes, put(key, n))
		}
		temp := fmt.Sprintf("%s-temp-%06d", w.name, n)
		changes = append(changes, put(w.name+"-latest", n), put(temp, n))
		if w.temp != "" {
			changes = append(changes, doorbell.Change{Key: w.temp, Deleted: true})
		}
		b.size = len(changes)

		// A write that was given up may still be done, at any later time; so each is waited for.
		written, err := w.client.Write(context.WithoutCancel(ctx), w.feed, changes)
		if w.temp = ""; err == nil {
			w.temp = temp
			b.acked, b.first, b.last = true, written.First, seqOf(written.Cursor)
			acks.Add(1)
		}
		w.batches = append(w.batches, b)
		if problem := (*doorbell.Problem)(nil); errors.As(err, &problem) {
			return err // it was refused, which nothing of this gives a reason for
		}
		if !b.acked {
			break
		}
	}
	return nil
}

func put(key string, n int) doorbell.Change {
	return doorbell.Change{Key: key, Value: json.RawMessage(strconv.Itoa(n))}
}

// writeUntil lets all writers write until `enough` more batches were acknowledged, then calls kill in the middle of it, and
// returns when all of them have noticed.
func writeUntil(t *testing.T, writers []*writer, enough int64, kill func()) {
	t.Helper()
	var acks atomic.Int64
	var running sync.WaitGroup
	for _, w := range writers {
		running.Go(func() {
			if err := w.run(t.Context(), &acks); err != nil {
				t.Error(err)
			}
		})
	}
	doorbelltest.Eventually(t, "batches are acknowledged", func() bool { return acks.Load() >= enough || t.Failed() })
	kill()
	running.Wait()
}

// check compares what a feed's writers know with its snapshot: what was acknowledged is there at the seqs that were named,
// what wasn't is there as a whole or not at all, and together they make all seqs of the feed.
func check(t *testing.T, feed string, writers []*writer, state *doorbell.State) {
	t.Helper()
	type span struct{ first, last int64 }
	var spans []span
	for _, w := range writers {
		if w.feed != feed {
			continue
		}
		newest := -1
		for n, b := range w.batches {
			there := 0
			for i, key := range b.unique {
				item, ok := state.Items[key]
				if !ok {
					continue
				}
				if there++; there == 1 && !b.acked {
					b.first = item.Seq - int64(i)
					b.last = b.first + int64(b.size) - 1
				}
				if item.Seq != b.first+int64(i) || string(item.Value) != strconv.Itoa(n) {
					t.Errorf("%s: %s is %s at %d; want %d at %d", feed, key, item.Value, item.Seq, n, b.first+int64(i))
				}
			}
			if there != 0 && there != len(b.unique) {
				t.Errorf("%s: %d of the %d items of a batch are there (acknowledged: %v)", feed, there, len(b.unique), b.acked)
			}
			if b.acked && there == 0 {
				t.Errorf("%s: the batch acknowledged as %d to %d is lost", feed, b.first, b.last)
			}
			if b.acked && b.last-b.first+1 != int64(b.size) {
				t.Errorf("%s: a batch of %d was acknowledged as %d to %d", feed, b.size, b.first, b.last)
			}
			if there > 0 {
				newest = n
				spans = append(spans, span{b.first, b.last})
			}
		}
		if got := string(state.Items[w.name+"-latest"].Value); newest >= 0 && got != strconv.Itoa(newest) {
			t.Errorf("%s: %s-latest is %s; its newest batch is %d", feed, w.name, got, newest)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.first - b.first) })
	next := int64(1)
	for _, s := range spans {
		if s.first != next {
			t.Errorf("%s: a batch has the seqs %d to %d; the next free one was %d", feed, s.first, s.last, next)
		}
		next = s.last + 1
	}
	if head := seqOf(state.Cursor); head != next-1 {
		t.Errorf("%s: the head is %d; the writes make it %d", feed, head, next-1)
	}
}

func seqOf(cursor string) int64 {
	_, seq, _ := strings.Cut(cursor, "-")
	n, err := strconv.ParseInt(seq, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func epochOf(cursor string) string {
	epoch, _, _ := strings.Cut(cursor, "-")
	return epoch
}
