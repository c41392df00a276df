package redisbus_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// TestRedisThatTakesNoHeadsIsLost: when it answers but refuses to set heads, nothing can be signalled, and followers have
// to know that.
func TestRedisThatTakesNoHeadsIsLost(t *testing.T) {
	primary := testkit.NewRedis(t)
	for how, c := range map[string]struct{ refuse, take []any }{
		"full":      {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"a replica": {[]any{"REPLICAOF", "127.0.0.1", strings.TrimPrefix(primary.Addr, "127.0.0.1:")}, []any{"REPLICAOF", "NO", "ONE"}},
	} {
		t.Run(how, func(t *testing.T) {
			server := testkit.NewRedis(t)
			operator := redis.NewClient(&redis.Options{Addr: server.Addr})
			defer operator.Close()
			do := func(command []any) {
				t.Helper()
				if err := operator.Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			log := &lockedBuffer{}
			opts := hasty(server.URL, "")
			opts.Logger = slog.New(slog.NewTextHandler(log, nil))
			node := newBus(t, opts)
			r := listen(t, node)
			r.follow("a")
			do(c.refuse)
			r.awaitAlive(false)
			do(c.take)
			r.awaitAlive(true)
			publishSoon(t, node, at(1, 1), "a")
			r.await(at(1, 1), "a")
			if !strings.Contains(log.String(), "OOM") && !strings.Contains(log.String(), "READONLY") {
				t.Errorf("the log doesn't say why:\n%s", log)
			}
		})
	}
}

// TestTheLogSaysWhyRedisIsNotFound: from the start on, once, and without the password.
func TestTheLogSaysWhyRedisIsNotFound(t *testing.T) {
	server := testkit.NewRedis(t)
	setPassword(t, server.Addr, "right")
	log := &lockedBuffer{}
	opts := hasty("redis://:wrong-one@"+server.Addr, "")
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	node := newBus(t, opts)
	for begin := time.Now(); !strings.Contains(log.String(), "WRONGPASS"); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("the log doesn't say that the password is wrong:\n%s", log)
		}
	}
	time.Sleep(4 * opts.ProbeEvery) // several more failures
	if n := strings.Count(log.String(), "WRONGPASS"); n != 1 || node.Alive() || strings.Contains(log.String(), "wrong-one") {
		t.Errorf("told %d times:\n%s", n, log)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// setPassword makes a server that is up ask for a password; the kit itself knows none.
func setPassword(t *testing.T, addr, password string) {
	t.Helper()
	operator := redis.NewClient(&redis.Options{Addr: addr})
	defer operator.Close()
	if err := operator.ConfigSet(t.Context(), "requirepass", password).Err(); err != nil {
		t.Fatal(err)
	}
}
