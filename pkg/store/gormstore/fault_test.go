package gormstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

var touch = store.Write{Touch: true}

// soon is how long a write may take that the database can't do: the defaults say a second, and a busy machine takes its
// time. What would end such a write otherwise comes later still.
const soon = 5 * time.Second

// wantAllUnavailable makes many writes at once, and wants each refused soon.
func wantAllUnavailable(t *testing.T, s store.Store, how string) {
	t.Helper()
	const writers = 60 // several times the pool
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			begin := time.Now()
			_, err := s.Append(t.Context(), feed.Name(fmt.Sprintf("a:%d", i)), touch)
			if took := time.Since(begin); !errors.Is(err, store.ErrUnavailable) || took > soon {
				t.Errorf("a write with the database %s: %v after %s; want ErrUnavailable within %s", how, err, took, soon)
			}
		})
	}
	all.Wait()
}

// wantAllWritten makes as many writes at once as the pool has connections, so that each is used, and then has them idle.
func wantAllWritten(t *testing.T, s store.Store) {
	t.Helper()
	var all sync.WaitGroup
	for i := range defaultMaxConns {
		all.Go(func() {
			if _, err := s.Append(t.Context(), feed.Name(fmt.Sprintf("a:%d", i)), touch); err != nil {
				t.Errorf("a write: %v", err)
			}
		})
	}
	all.Wait()
}

func TestPostgresComesAndGoes(t *testing.T) {
	server := testkit.NewPostgres(t)
	pause := func() { time.Sleep(time.Millisecond) } // so that no connection serves two
	p := openPostgresAt(t, server.URL, patiently(Options{pause: pause}))
	for how, end := range map[string]func(){"stopped": server.Stop, "killed": server.Kill} {
		wantAllWritten(t, p)
		end()
		wantAllUnavailable(t, p, how)
		if err := p.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("ping: %v; want ErrUnavailable", err)
		}
		server.Start()
		wantAllWritten(t, p) // at once, and by the same store
		server.Restart()     // behind the pool's back: all its connections are dead
		wantAllWritten(t, p)
	}
	if heads, err := p.Heads(t.Context(), []feed.Name{"a:0"}); err != nil || heads[0].Seq != 6 {
		t.Fatalf("the head is %v, %v; want every acknowledged write: 6", heads, err)
	}
}

func TestPostgresMute(t *testing.T) {
	schema := testkit.Postgres(t)
	proxy := testkit.NewProxy(t, schema.Addr)
	p := openPostgresAt(t, strings.ReplaceAll(schema.URL, schema.Addr, proxy.Addr), Options{Timeout: time.Minute})
	for how, end := range map[string]func(){"frozen": proxy.Freeze, "cut off": proxy.Cut} {
		wantAllWrittenAgain(t, p)
		end()
		wantAllUnavailable(t, p, how)
		proxy.Heal()
		wantAllWrittenAgain(t, p)
	}
}

// TestDeadConnectionsArePassedOver: right after they were used, when the pool still takes them for alive.
func TestDeadConnectionsArePassedOver(t *testing.T) {
	schema := testkit.Postgres(t)
	proxy := testkit.NewProxy(t, schema.Addr)
	p := openPostgresAt(t, strings.ReplaceAll(schema.URL, schema.Addr, proxy.Addr), patiently(Options{}))
	useAll := func() {
		var all, begun sync.WaitGroup
		begun.Add(defaultMaxConns)
		for range defaultMaxConns {
			all.Go(func() {
				arrive := sync.OnceFunc(begun.Done)
				defer arrive()
				err := p.inRead(t.Context(), "read", func(*gorm.DB) error {
					arrive()
					begun.Wait() // each on a connection of its own
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	for range 3 {
		useAll()
		useAll() // the driver looks after a connection that it hasn't handed out within the last second
		proxy.Reset()
	}
	useAll()
}

// wantAllWrittenAgain is wantAllWritten, in a while: the defaults that TestPostgresMute is about are short for a busy machine.
func wantAllWrittenAgain(t *testing.T, s store.Store) {
	t.Helper()
	for i := range defaultMaxConns {
		for begin := time.Now(); ; {
			_, err := s.Append(t.Context(), feed.Name(fmt.Sprintf("a:%d", i)), touch)
			if err == nil {
				break
			}
			if !errors.Is(err, store.ErrUnavailable) || time.Since(begin) > 4*soon {
				t.Fatalf("a write after it came back: %v", err)
			}
		}
	}
}

// TestACommitWhoseOutcomeIsUnknownIsNotRepeated: it may have been committed.
func TestACommitWhoseOutcomeIsUnknownIsNotRepeated(t *testing.T) {
	schema := testkit.Postgres(t)
	proxy := testkit.NewProxy(t, schema.Addr)
	p := openPostgresAt(t, strings.ReplaceAll(schema.URL, schema.Addr, proxy.Addr), Options{})
	for name, lose := range map[string]func(){"cut": proxy.Cut, "reset": proxy.Reset, "frozen": proxy.Freeze} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		runs, begin := 0, time.Now()
		err := p.inWrite(ctx, "write", func(tx *gorm.DB) error {
			runs++
			err := tx.Exec("SELECT 1").Error
			lose()
			return err
		})
		cancel()
		if !errors.Is(err, store.ErrUnavailable) || runs != 1 || time.Since(begin) > soon {
			t.Errorf("%s: %v after %d runs and %s; want ErrUnavailable after one, within %s", name, err, runs, time.Since(begin), soon)
		}
		proxy.Heal()
	}
}

// TestACommitOutlivesItsCaller: with nothing left to do but the commit, whoever leaves doesn't tear it off halfway.
func TestACommitOutlivesItsCaller(t *testing.T) {
	schema := testkit.Postgres(t)
	proxy := testkit.NewProxy(t, schema.Addr)
	p := openPostgresAt(t, strings.ReplaceAll(schema.URL, schema.Addr, proxy.Addr), patiently(Options{}))
	wantAllWritten(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	err := p.inWrite(ctx, "write", func(tx *gorm.DB) error {
		row, err := lockFeed(tx, "a:0")
		if err == nil {
			_, _, err = p.appendLocked(tx, row, touch)
		}
		const slow = 100 * time.Millisecond
		proxy.Delay(slow)
		time.AfterFunc(slow, cancel) // the commit has been sent, its answer is on the way
		return err
	})
	if err != nil || ctx.Err() == nil {
		t.Fatalf("the write: %v, its caller: %v; want it committed, and the caller gone", err, ctx.Err())
	}
}

func TestPostgresRetriesWhatWasUndone(t *testing.T) {
	p := openPostgresTest(t, patiently(Options{}))
	raise := func(tx *gorm.DB, code string) error {
		return tx.Exec("DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '" + code + "'; END $$").Error
	}
	for _, code := range []string{pgSerializationFailure, pgDeadlock} {
		runs := 0
		err := p.inWrite(t.Context(), "write", func(tx *gorm.DB) error {
			if runs++; runs < 3 {
				return raise(tx, code)
			}
			return nil
		})
		if err != nil || runs != 3 {
			t.Errorf("%s twice: %v after %d runs; want the third to do", code, err, runs)
		}
		runs = 0
		err = p.inWrite(t.Context(), "write", func(tx *gorm.DB) error { runs++; return raise(tx, code) })
		if !errors.Is(err, store.ErrUnavailable) || runs != tries {
			t.Errorf("%s always: %v after %d runs; want ErrUnavailable after %d", code, err, runs, tries)
		}
	}
	runs := 0
	err := p.inWrite(t.Context(), "write", func(tx *gorm.DB) error { runs++; return raise(tx, "23505") })
	if err == nil || errors.Is(err, store.ErrUnavailable) || runs != 1 {
		t.Errorf("a fault of ours: %v after %d runs; want it told at once", err, runs)
	}
}

// TestPostgresDeadlock: two transactions that lock two feeds crosswise, as no statement of ours does.
func TestPostgresDeadlock(t *testing.T) {
	p := openPostgresTest(t, patiently(Options{}))
	wantAllWritten(t, p)
	var runs atomic.Int32
	var both, first sync.WaitGroup
	first.Add(2)
	for _, names := range [][2]feed.Name{{"a:0", "a:1"}, {"a:1", "a:0"}} {
		both.Go(func() {
			met := false
			err := p.inWrite(t.Context(), "write", func(tx *gorm.DB) error {
				runs.Add(1)
				if _, err := lockFeed(tx, names[0]); err != nil {
					return err
				}
				if !met {
					met = true
					first.Done()
					first.Wait()
				}
				_, err := lockFeed(tx, names[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if n := runs.Load(); n < 3 {
		t.Errorf("%d runs: there was no deadlock", n)
	}
}

func TestPostgresBounds(t *testing.T) {
	url := testkit.Postgres(t).URL
	p := openPostgresAt(t, url, Options{
		MaxConns: 2, BeginTimeout: 900 * time.Millisecond, LockTimeout: 50 * time.Millisecond, StatementTimeout: 100 * time.Millisecond,
		Timeout: 2 * time.Second, IdleTimeout: -1,
	})
	if _, err := p.Append(t.Context(), "a", touch); err != nil {
		t.Fatal(err)
	}
	wantUnavailable := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v; want ErrUnavailable", what, err)
		}
	}
	held := p.write.WithContext(t.Context()).Begin()
	if _, err := lockFeed(held, "a"); err != nil {
		t.Fatal(err)
	}
	_, err := p.Append(t.Context(), "a", touch)
	wantUnavailable("waiting for a lock", err)
	second := p.read.WithContext(t.Context()).Begin()
	wantUnavailable("a pool that is empty", p.Ping(t.Context()))
	second.Rollback()
	held.Rollback()
	wantUnavailable("a long statement", p.inRead(t.Context(), "sleep", func(tx *gorm.DB) error {
		return tx.Exec("SELECT pg_sleep(10)").Error
	}))
	wantUnavailable("a long call", p.inRead(t.Context(), "dawdle", func(tx *gorm.DB) error {
		<-tx.Statement.Context.Done()
		return tx.Exec("SELECT 1").Error
	}))
	wantAllWrittenAgain(t, p)
}

func TestPostgresErrors(t *testing.T) {
	for code, want := range map[string]bool{
		"53300": true, "57P01": true, "57P03": true, "08006": true, "25006": true, "55P03": true, "40001": true,
		"42P01": true, "23505": false, "42P07": false, "22021": false,
	} {
		if got := pgUnavailable(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s unavailable: %v; want %v", code, got, want)
		}
	}
	p := openPostgresTest(t, Options{})
	for what, e := range map[string]feed.Edit{
		"key": {Key: "a\x00b", Value: []byte("1")}, "value": {Key: "a", Value: []byte("\"\x00\"")}, "utf8": {Key: "a", Value: []byte("\"\xff\"")},
	} {
		_, err := p.Append(t.Context(), "a", store.Write{Edits: []feed.Edit{e}})
		if err == nil || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "holds a NUL") {
			t.Errorf("%s: %v; want what is wrong with it", what, err)
		}
	}
	if _, err := OpenPostgres(t.Context(), "postgres://host:port/", Options{}); err == nil || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a URL that isn't one: %v", err)
	}
	stranger, err := OpenPostgres(t.Context(), strings.Replace(testkit.Postgres(t).URL, "/postgres?", "/nosuch?", 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := stranger.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("ping of a database that isn't there: %v; want ErrUnavailable, and why", err)
	}
	nobody, err := OpenPostgres(t.Context(), "postgres://postgres@127.0.0.1:1/none", Options{})
	if err != nil {
		t.Fatalf("opening needs a database: %v", err)
	}
	if err := nobody.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ping of nobody: %v; want ErrUnavailable", err)
	}
	if err := nobody.Close(); err != nil {
		t.Error(err)
	}
}

// TestBehindAPooler: without prepared statements, as behind a pooler that can't follow them.
func TestBehindAPooler(t *testing.T) {
	url := testkit.Postgres(t).URL + "&default_query_exec_mode=exec"
	p := openPostgresAt(t, url, Options{})
	edits := []feed.Edit{{Key: "a", Value: []byte(`{"a": 1.0}`)}, {Key: "b", Value: []byte("2")}, {Key: "a", Deleted: true}}
	w, err := p.Append(t.Context(), "a", store.Write{Edits: edits, MaxItems: 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Delta(t.Context(), "a", store.Query{Since: feed.Cursor{Epoch: w.Cursor.Epoch, Seq: 1}, Limit: 10, MaxBytes: 1 << 20})
	if err != nil || len(d.Changes) != 2 || string(d.Changes[0].Value) != "2" || !d.Changes[1].Deleted {
		t.Fatalf("delta: %+v, %v", d, err)
	}
	if _, err := p.Purge(t.Context(), feed.Scope{Except: true}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, horizon, err := p.Changed(t.Context(), "")
	if err == nil {
		_, _, err = p.Changed(t.Context(), horizon)
	}
	if err != nil {
		t.Fatal(err)
	}
}
