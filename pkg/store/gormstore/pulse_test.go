package gormstore

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// TestCallsUnderWayEndWhenTheDatabaseFallsSilent, whatever they are at: a frozen database keeps no timeouts of its own.
func TestCallsUnderWayEndWhenTheDatabaseFallsSilent(t *testing.T) {
	schema := testkit.Postgres(t)
	proxy := testkit.NewProxy(t, schema.Addr)
	p := openPostgresAt(t, strings.ReplaceAll(schema.URL, schema.Addr, proxy.Addr), Options{
		Timeout: time.Minute, StatementTimeout: -1, LockTimeout: -1, IdleTimeout: -1,
	})
	for what, f := range map[string]func(tx *gorm.DB) error{
		"a statement": func(tx *gorm.DB) error {
			proxy.Freeze()
			return tx.Exec("SELECT 1").Error
		},
		"a long statement": func(tx *gorm.DB) error {
			time.AfterFunc(100*time.Millisecond, proxy.Freeze)
			return tx.Exec("SELECT pg_sleep(60)").Error
		},
		"a commit": func(tx *gorm.DB) error {
			err := tx.Exec("SELECT 1").Error
			proxy.Freeze()
			return err
		},
	} {
		wantAllWrittenAgain(t, p)
		begin := time.Now()
		err := p.inWrite(t.Context(), "write", f)
		if took := time.Since(begin); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, errMute) || took > soon {
			t.Errorf("%s: %v after %s; want errMute within %s", what, err, took, soon)
		}
		proxy.Heal()
	}
}

// TestALongCallOfALivingDatabaseGoesOn, also where connections that are kept have silently died.
func TestALongCallOfALivingDatabaseGoesOn(t *testing.T) {
	schema := testkit.Postgres(t)
	p := openPostgresAt(t, schema.URL, Options{BeginTimeout: 4 * time.Second, ConnectTimeout: 4 * time.Second})
	for range 2 {
		err := p.inWrite(t.Context(), "write", func(tx *gorm.DB) error { return tx.Exec("SELECT pg_sleep(2.5)").Error })
		if err != nil {
			t.Errorf("a statement that takes its time: %v", err)
		}
	}
	// It says no to whoever wants to connect, but works.
	if err := p.pulse.pool.Close(); err != nil {
		t.Fatal(err)
	}
	if !p.pulse.beats() {
		t.Error("a refusal is taken for silence")
	}
}

// TestAMuteDatabaseIsLeftAlone: it gets one question at a time, whoever calls is refused at once, and when it is back it is
// found by itself.
func TestAMuteDatabaseIsLeftAlone(t *testing.T) {
	schema := testkit.Postgres(t)
	proxy := testkit.NewProxy(t, schema.Addr)
	p := openPostgresAt(t, strings.ReplaceAll(schema.URL, schema.Addr, proxy.Addr), Options{})
	wantAllWrittenAgain(t, p)
	proxy.Freeze()
	wantAllUnavailable(t, p, "frozen")
	if !p.pulse.mute.Load() {
		t.Fatal("nobody has noticed")
	}
	opened := p.Store.write.ConnPool.(*sql.DB).Stats().OpenConnections
	for range 1000 {
		if _, err := p.Append(t.Context(), "a:0", touch); !errors.Is(err, errMute) {
			t.Fatalf("a write to a mute database: %v", err)
		}
	}
	if n := p.Store.write.ConnPool.(*sql.DB).Stats().OpenConnections; n > opened {
		t.Errorf("%d connections more were made", n-opened)
	}
	proxy.Heal()
	for begin := time.Now(); p.pulse.mute.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 4*soon {
			t.Fatal("nobody has noticed that it is back")
		}
	}
	wantAllWrittenAgain(t, p)
}
