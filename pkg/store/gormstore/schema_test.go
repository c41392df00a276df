package gormstore

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// TestASeqIsTakenOnce: should the lock ever fail, the schema refuses what would be served as two histories.
func TestASeqIsTakenOnce(t *testing.T) {
	for name, s := range map[string]*Store{
		"SQLite": openSQLiteTest(t, Options{}), "Postgres": openPostgresTest(t, patiently(Options{})).Store,
	} {
		t.Run(name, func(t *testing.T) {
			w := store.Write{Edits: []feed.Edit{
				{Key: "live", Value: []byte("1")}, {Key: "dead", Value: []byte("1")}, {Key: "dead", Deleted: true},
			}}
			if _, err := s.Append(t.Context(), "a", w); err != nil {
				t.Fatal(err)
			}
			row, err := findFeed(s.read, "a")
			if err != nil {
				t.Fatal(err)
			}
			value := "1"
			for _, again := range []itemRow{
				{Key: "other", Seq: 1, Value: &value}, {Key: "other", Seq: 3, Deleted: true}, {FeedID: 999, Key: "orphan", Seq: 1},
			} {
				id := row.ID + again.FeedID
				again.FeedID = 0
				if err := upsert(s.write, id, []itemRow{again}, 0); err == nil {
					t.Errorf("%+v was written to feed %d; want it refused", again, id)
				}
			}
			if err := s.write.Create(&feedRow{Name: "a"}).Error; err == nil {
				t.Error("a second feed of the same name was written")
			}
		})
	}
}

func TestPostgresMigrations(t *testing.T) {
	url := testkit.Postgres(t).URL
	wantApplied := func(want bool) {
		t.Helper()
		all, err := MigrationStatus(t.Context(), url)
		if err != nil || len(all) == 0 {
			t.Fatalf("status: %+v, %v", all, err)
		}
		for _, m := range all {
			if m.Applied.IsZero() == want || m.Version == 0 || m.File == "" {
				t.Fatalf("status: %+v; want applied %v", m, want)
			}
		}
	}
	wantApplied(false)
	var mu sync.Mutex
	var several sync.WaitGroup
	worked := 0
	for range 6 {
		several.Go(func() {
			done, err := Migrate(t.Context(), url)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if len(done) > 0 {
				worked++
			}
		})
	}
	several.Wait()
	if worked != 1 {
		t.Fatalf("%d of several migrated; want one", worked)
	}
	wantApplied(true)
	// The way back works, and leaves nothing in the way of going forth again.
	err := withProvider(url, func(p *goose.Provider) error { _, err := p.DownTo(t.Context(), 0); return err })
	if err != nil {
		t.Fatal(err)
	}
	wantApplied(false)
	openPostgresAt(t, url, patiently(Options{}))
	if _, err := Migrate(t.Context(), "postgres://postgres@127.0.0.1:1/none?connect_timeout=1"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("migrating nothing: %v; want ErrUnavailable", err)
	}
}

// TestWithoutItsSchemaTheDatabaseIsUnavailable: services may start before the migration, and say what is missing.
func TestWithoutItsSchemaTheDatabaseIsUnavailable(t *testing.T) {
	p, err := OpenPostgres(t.Context(), testkit.Postgres(t).URL, patiently(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, appended := p.Append(t.Context(), "a", touch)
	_, read := p.Heads(t.Context(), []feed.Name{"a"})
	_, _, changed := p.Changed(t.Context(), "")
	for what, err := range map[string]error{"ping": p.Ping(t.Context()), "append": appended, "heads": read, "changed": changed} {
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "doorbell migrate up") {
			t.Errorf("%s without a schema: %v; want ErrUnavailable, and what to do", what, err)
		}
	}
}
