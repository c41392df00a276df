package gormstore

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/storetest"
)

func openSQLiteTest(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "doorbell.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, now func() time.Time) store.Store { return openSQLiteTest(t, Options{Now: now}) }
	storetest.Run(t, open, 1000)
}

// TestPurgeGoesOnAfterAFeedThatFails: on Postgres, a lock timeout on one busy feed is enough.
func TestPurgeGoesOnAfterAFeedThatFails(t *testing.T) {
	s := openSQLiteTest(t, Options{})
	for _, name := range []feed.Name{"a", "b", "c"} {
		edits := []feed.Edit{{Key: "k", Value: []byte("1")}, {Key: "k", Deleted: true}}
		if _, err := s.Append(t.Context(), name, store.Write{Edits: edits}); err != nil {
			t.Fatal(err)
		}
	}
	const refuse = "CREATE TRIGGER busy BEFORE UPDATE ON feeds WHEN OLD.name = 'a' BEGIN SELECT RAISE(ABORT, 'busy'); END"
	if err := s.write.Exec(refuse).Error; err != nil {
		t.Fatal(err)
	}
	n, err := s.Purge(t.Context(), feed.Scope{Except: true}, time.Now().Add(time.Hour))
	if n != 2 || err == nil {
		t.Errorf("purged %d, %v; want the tombstones of b and c, and the error of a", n, err)
	}
}
