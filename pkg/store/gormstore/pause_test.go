package gormstore

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/storetest"
)

// randomPause holds a write up, between its lock and its writing and before its commit, so that whatever the lock
// should keep apart has time to meet.
func randomPause() { time.Sleep(rand.N(3 * time.Millisecond)) }

// TestConcurrentWithPauses is the property that all rests on, with transactions that take their time.
func TestConcurrentWithPauses(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) store.Store{
		"SQLite":   func(t *testing.T) store.Store { return openSQLiteTest(t, Options{pause: randomPause}) },
		"Postgres": func(t *testing.T) store.Store { return openPostgresTest(t, patiently(Options{pause: randomPause})) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Fewer than the default, as SQLite's writers wait for each other.
			load := storetest.Load{Writers: 8, Readers: 4, Feeds: 4, WritesEach: 30, Seed: 2}
			if err := storetest.Concurrent(t.Context(), open(t), load); err != nil {
				t.Fatal(err)
			}
		})
	}
}
