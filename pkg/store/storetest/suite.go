// Package storetest is the conformance suite of the store contract. Every implementation runs all of it:
//
//	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store { … }, 1000)
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Open makes an empty store that takes its time from now, and that is closed when the test ends.
type Open func(t *testing.T, now func() time.Time) store.Store

// Run runs the suite, with so many random histories: a thousand, or fewer where the same statements are tried elsewhere.
func Run(t *testing.T, open Open, histories int) {
	testHistories := func(t *testing.T, e *env) { testHistories(t, e, uint64(histories)) }
	for _, c := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"append takes every seq once", testAppend},
		{"a key may repeat in a batch", testRepeatedKey},
		{"deleting an absent key is no change", testDeleteAbsent},
		{"touch moves the head alone", testTouch},
		{"values come back byte for byte", testBytes},
		{"conditions on items", testItemConditions},
		{"conditions on the feed", testFeedConditions},
		{"only one of many creates", testCreateRace},
		{"a cancelled write changes nothing", testCancelled},
		{"delta", testDelta},
		{"delta by bare seq", testBareSeq},
		{"delta limits", testDeltaLimits},
		{"resets", testResets},
		{"one snapshot per answer", testSnapshotIsolation},
		{"walk", testWalk},
		{"walk below the floor", testWalkBelowFloor},
		{"random histories are walked to the truth", testHistories},
		{"items", testItem},
		{"heads and listing", testHeads},
		{"drop", testDrop},
		{"renew", testRenew},
		{"max items", testTrim},
		{"purge", testPurge},
		{"purge scopes", testPurgeScope},
		{"a write is done once", testOnce},
		{"a refusal is given once", testOnceRefused},
		{"a drop is done once", testOnceDrop},
		{"of many at once one is done", testOnceTogether},
		{"outcomes are forgotten", testForget},
		{"concurrent writers and readers", testConcurrent},
		{"closing twice", testClose},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newEnv(t, open)) })
	}
}

// env is a store, a clock that moves by itself a little, and shorthands.
type env struct {
	store.Store
	t     *testing.T
	ctx   context.Context
	clock atomic.Int64 // Unix milliseconds
	real  atomic.Bool  // the real time instead
}

func newEnv(t *testing.T, open Open) *env {
	e := &env{t: t, ctx: t.Context()}
	e.clock.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli())
	e.Store = open(t, e.now)
	return e
}

// now is a millisecond later at every call, so that times order writes.
func (e *env) now() time.Time {
	if e.real.Load() {
		return time.Now()
	}
	return time.UnixMilli(e.clock.Add(1))
}

func (e *env) advance(d time.Duration) { e.clock.Add(d.Milliseconds()) }

func (e *env) append(name feed.Name, w store.Write) store.Written {
	e.t.Helper()
	written, err := e.Append(e.ctx, name, w)
	if err != nil {
		e.t.Fatalf("append to %s: %v", name, err)
	}
	return written
}

// put puts each key with the value "<key>" in one write.
func (e *env) put(name feed.Name, keys ...string) store.Written {
	e.t.Helper()
	return e.append(name, store.Write{Edits: puts(keys...)})
}

func (e *env) delete(name feed.Name, keys ...string) store.Written {
	e.t.Helper()
	var w store.Write
	for _, key := range keys {
		w.Edits = append(w.Edits, feed.Edit{Key: key, Deleted: true})
	}
	return e.append(name, w)
}

func (e *env) delta(name feed.Name, since feed.Cursor, limit int) feed.Delta {
	e.t.Helper()
	d, err := e.Delta(e.ctx, name, store.Query{Since: since, Limit: limit, MaxBytes: 1 << 20})
	if err != nil {
		e.t.Fatalf("delta of %s since %q: %v", name, since, err)
	}
	return d
}

func (e *env) head(name feed.Name) feed.Cursor {
	e.t.Helper()
	heads, err := e.Heads(e.ctx, []feed.Name{name})
	if err != nil || len(heads) != 1 {
		e.t.Fatalf("head of %s: %v, %v", name, heads, err)
	}
	return heads[0]
}

// wantReset checks that a delta since a cursor is a reset for the reason, at the head.
func (e *env) wantReset(name feed.Name, since feed.Cursor, reason feed.ResetReason) {
	e.t.Helper()
	_, err := e.Delta(e.ctx, name, store.Query{Since: since, Limit: 10, MaxBytes: 1 << 20})
	var reset *feed.ResetError
	if !errors.As(err, &reset) {
		e.t.Fatalf("delta since %s: %v; want a reset", since, err)
	}
	if reset.Reason != reason || reset.Head != e.head(name) {
		e.t.Fatalf("delta since %s: reset %s at %s; want %s at %s", since, reset.Reason, reset.Head, reason, e.head(name))
	}
}

func (e *env) wantPrecondition(name feed.Name, w store.Write, want feed.PreconditionError) {
	e.t.Helper()
	before := e.head(name)
	_, err := e.Append(e.ctx, name, w)
	var got *feed.PreconditionError
	if !errors.As(err, &got) {
		e.t.Fatalf("append: %v; want a failed precondition", err)
	}
	if *got != want {
		e.t.Fatalf("append: precondition %+v; want %+v", *got, want)
	}
	if after := e.head(name); after != before {
		e.t.Fatalf("a refused write moved the head from %s to %s", before, after)
	}
}

func puts(keys ...string) []feed.Edit {
	edits := make([]feed.Edit, len(keys))
	for i, key := range keys {
		edits[i] = feed.Edit{Key: key, Value: fmt.Appendf(nil, "%q", key)}
	}
	return edits
}

// shape writes changes as "key@seq", tombstones as "-key@seq".
func shape(changes []feed.Change) string {
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = fmt.Sprintf("%s@%d", c.Key, c.Seq)
		if c.Deleted {
			words[i] = "-" + words[i]
		}
	}
	return strings.Join(words, " ")
}

func wantShape(t *testing.T, d feed.Delta, want string) {
	t.Helper()
	if got := shape(d.Changes); got != want {
		t.Fatalf("delta since %q to %s has %q; want %q", d.Since, d.Cursor, got, want)
	}
}

func testConcurrent(t *testing.T, e *env) {
	e.real.Store(true) // what the load's purges go by
	if err := Concurrent(t.Context(), e.Store, DefaultLoad); err != nil {
		t.Fatal(err)
	}
}

func testClose(t *testing.T, e *env) {
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
