package gormstore

import (
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/storetest"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// patiently has what should work at once work however busy the machine is: the defaults are for requests.
func patiently(o Options) Options {
	const long = 20 * time.Second
	o.ConnectTimeout, o.BeginTimeout, o.Timeout = long, long, time.Minute
	o.StatementTimeout, o.LockTimeout, o.IdleTimeout = -1, -1, -1
	return o
}

// openPostgresTest opens a store in a schema of its own.
func openPostgresTest(t *testing.T, o Options) *Postgres {
	t.Helper()
	return openPostgresAt(t, testkit.Postgres(t).URL, o)
}

func openPostgresAt(t *testing.T, url string, o Options) *Postgres {
	t.Helper()
	if _, err := Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPostgres(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, now func() time.Time) store.Store {
		return openPostgresTest(t, patiently(Options{Now: now}))
	}
	storetest.Run(t, open, 250)
}

// TestPostgresSweep leaves transactions open by hand.
func TestPostgresSweep(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, now func() time.Time) store.Store {
		return openPostgresTest(t, patiently(Options{Now: now, pause: randomPause}))
	}
	storetest.RunSweep(t, open, func(t *testing.T, s store.Store, name feed.Name) (commit func()) {
		p := s.(*Postgres)
		tx := p.write.WithContext(t.Context()).Begin()
		row, err := lockFeed(tx, name)
		if err == nil {
			_, _, err = p.appendLocked(tx, row, store.Write{Touch: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := tx.Commit().Error; err != nil {
				t.Fatal(err)
			}
		}
	})
}
