package gormstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/storetest"
)

// racyStore takes its seqs before it holds the feed's lock, as from a database sequence: they commit out of order, and a
// reader that has seen 7 never sees the 6 that commits a moment later. It puts only: whether a delete takes a seq, the lock
// alone can tell.
type racyStore struct {
	*Store
	// take takes the next n seqs of a feed and gives the first.
	take func(name feed.Name, n int64) (int64, error)
}

func (s *racyStore) Append(ctx context.Context, name feed.Name, w store.Write) (store.Written, error) {
	if err := s.inWrite(ctx, "bear", func(tx *gorm.DB) error { _, err := s.bear(tx, name); return err }); err != nil {
		return store.Written{}, err
	}
	n := int64(len(w.Edits))
	first, err := s.take(name, n)
	if err != nil {
		return store.Written{}, err
	}

	time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // between taking the seqs and the lock

	written := store.Written{First: first}
	err = s.inWrite(ctx, "append", func(tx *gorm.DB) error {
		row, err := lockFeed(tx, name)
		if err != nil {
			return err
		}
		byKey := map[string]itemRow{}
		for i, e := range w.Edits {
			value := string(e.Value)
			byKey[e.Key] = itemRow{Key: e.Key, Seq: first + int64(i), Value: &value}
		}
		rows := make([]itemRow, 0, len(byKey))
		for _, r := range byKey {
			rows = append(rows, r)
		}
		if err := upsert(tx, row.ID, rows, s.now().UnixMilli()); err != nil {
			return err
		}
		row.Head = max(row.Head, first+n-1)
		written.Cursor = row.at(first + n - 1)
		return updateFeed(tx, row)
	})
	return written, err
}

// TestSeqsOutsideTheLockAreCaught shows that the property test bites.
func TestSeqsOutsideTheLockAreCaught(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	next := map[feed.Name]int64{}
	wantSkipped(t, puts, &racyStore{openSQLiteTest(t, Options{}), func(name feed.Name, n int64) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		next[name] += n
		return next[name] - n + 1, nil
	}})
}

// TestSeqsOfASequenceAreCaught: with what Postgres has for numbering things.
func TestSeqsOfASequenceAreCaught(t *testing.T) {
	t.Parallel()
	s := openPostgresTest(t, patiently(Options{}))
	load := puts
	load.OneEach = true // a sequence gives one number at a time
	for i := range load.Feeds {
		if err := s.write.Exec(fmt.Sprintf("CREATE SEQUENCE seq_load_%d", i)).Error; err != nil {
			t.Fatal(err)
		}
	}
	wantSkipped(t, load, &racyStore{s.Store, func(name feed.Name, n int64) (seq int64, err error) {
		err = s.write.Raw("SELECT nextval(?)", "seq_"+strings.ReplaceAll(string(name), ":", "_")).Scan(&seq).Error
		return seq, err
	}})
}

// puts is the default load without what a racyStore can't do.
var puts = func() storetest.Load {
	load := storetest.DefaultLoad
	load.PutsOnly = true
	return load
}()

func wantSkipped(t *testing.T, load storetest.Load, s *racyStore) {
	t.Helper()
	err := storetest.Concurrent(t.Context(), s, load)
	if err == nil {
		t.Fatal("a store that takes seqs outside the feed's lock passed")
	}
	if _, skipped := errors.AsType[*storetest.SkippedError](err); !skipped {
		t.Fatalf("it failed, but not because a reader skipped a change: %v", err)
	}
}
