package api_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

func TestServedFromMemory(t *testing.T) {
	st, err := gormstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "doorbell.db"), gormstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := membus.New(membus.Options{})
	defer func() { _ = b.Close(); _ = st.Close() }()
	testServedFromMemory(t, &world{store: st, bus: b, lose: b.Interrupt, find: b.Resume}, 6)
}

// TestServedFromMemoryOnServers is the same on Postgres and Redis.
func TestServedFromMemoryOnServers(t *testing.T) {
	url := testkit.Postgres(t).URL
	if _, err := gormstore.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	st, err := gormstore.OpenPostgres(t.Context(), url, gormstore.Options{ConnectTimeout: 20 * time.Second, BeginTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	redis := testkit.NewRedis(t)
	proxy := testkit.NewProxy(t, redis.Addr)
	b, err := redisbus.New(t.Context(), redisbus.Options{URL: "redis://" + proxy.Addr, Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(); _ = st.Close() }()
	testServedFromMemory(t, &world{store: st, bus: b, lose: proxy.Cut, find: proxy.Heal}, 3)
}
