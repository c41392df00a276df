//go:build unix

package gormstore

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

func openAt(t *testing.T, path string, log *bytes.Buffer) *Store {
	t.Helper()
	s, err := OpenSQLite(t.Context(), path, Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestABackupOfSQLiteHasNewEpochs: clients may have seen more than it holds.
func TestABackupOfSQLiteHasNewEpochs(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "doorbell.db")
	s := openAt(t, path, &log)
	first, err := s.Append(t.Context(), "a", touch)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, &log)
	seen, err := s.Append(t.Context(), "a", touch)
	if err != nil || seen.Cursor != (feed.Cursor{Epoch: first.Cursor.Epoch, Seq: 2}) {
		t.Fatalf("opened again it is at %+v, %v", seen, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("the same file was told of: %s", &log)
	}

	if err := os.WriteFile(path+".restored", backup, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".restored", path); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, &log)
	heads, err := s.Heads(t.Context(), []feed.Name{"a"})
	if err != nil || heads[0].Epoch <= seen.Cursor.Epoch || heads[0].Seq != 1 {
		t.Fatalf("a backup is at %v, %v; want seq 1 of an epoch after %s", heads, err, seen.Cursor)
	}
	if !strings.Contains(log.String(), "feeds=1") {
		t.Errorf("the log says %q", &log)
	}
	_ = s.Close()
	if again, err := openAt(t, path, &log).Heads(t.Context(), []feed.Name{"a"}); err != nil || again[0] != heads[0] {
		t.Errorf("opened again it is at %v, %v; want %v", again, err, heads)
	}
}

// TestNothingIsAcknowledgedInAFileThatIsGone, nor read as if it were well.
func TestNothingIsAcknowledgedInAFileThatIsGone(t *testing.T) {
	for how, lose := range map[string]func(path string) error{
		"removed": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(how, func(t *testing.T) {
			var log bytes.Buffer
			path := filepath.Join(t.TempDir(), "data", "doorbell.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			s := openAt(t, path, &log)
			if _, err := s.Append(t.Context(), "a", touch); err != nil {
				t.Fatal(err)
			}
			s.pause = func() { // in the middle of a write
				if err := lose(path); err != nil {
					t.Error(err)
				}
				s.pause = nil
			}
			for range 3 {
				_, err := s.Append(t.Context(), "a", touch)
				if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "its file was removed") {
					t.Errorf("append: %v; want ErrUnavailable, and why", err)
				}
			}
			if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("ping: %v; want ErrUnavailable", err)
			}
		})
	}
}
