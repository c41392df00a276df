package gormstore

import (
	"path/filepath"
	"testing"
	"time"

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
