package ratelimit

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nodes are limiters that share a Redis.
func nodes(t *testing.T, n int, url string, limit Limit) ([]*Limiter, *buffer) {
	t.Helper()
	log := &buffer{}
	var all []*Limiter
	for range n {
		r, err := OpenRedis(url, t.Name()+":", slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		l := New(Options{Limits: []Limit{limit}, Slots: 1024, Shared: r})
		t.Cleanup(func() {
			l.Close()
			l.Close()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		all = append(all, l)
	}
	return all, log
}

// buffer is a log.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// ask has a client ask all nodes in turn, each so often, and gives how many were let through, and in which time.
func ask(all []*Limiter, id uint64, each int, every time.Duration) (int, time.Duration) {
	began, ok := time.Now(), 0
	for range each {
		for _, l := range all {
			if !l.Take(0, id).Refused {
				ok++
			}
		}
		time.Sleep(every)
	}
	return ok, time.Since(began)
}

// TestNodesShareOneLimit: a client that asks four nodes gets what it would get of one.
func TestNodesShareOneLimit(t *testing.T) {
	limit := Limit{Name: "reads", PerSecond: 100, Burst: 100}
	all, _ := nodes(t, 4, "redis://"+testkit.Redis(t).Addr+"/0", limit)
	got, took := ask(all, 1, 1500, 2*time.Millisecond)
	want := float64(limit.Burst) + limit.PerSecond*took.Seconds()
	t.Logf("%d of %d in %s; one node would allow %.0f", got, 4*1500, took, want)
	if float64(got) > want*1.2 || float64(got) < want*0.7 {
		t.Errorf("four nodes let %d through in %s; want about %.0f", got, took, want)
	}
	// Another client isn't held up by it, and asks one node alone.
	if n := allowed(all[0], 2, 200); n < 100 || n > 101 {
		t.Errorf("another client got %d at once; want 100", n)
	}
	// And that node's word reaches the others.
	deadline := time.Now().Add(20 * time.Second)
	for all[1].Take(0, 2); !all[1].Take(0, 2).Refused; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("another node didn't hear of it")
		}
	}
}

// TestWithoutRedis: each node limits on its own, says so once, and they share again when Redis is back.
func TestWithoutRedis(t *testing.T) {
	server := testkit.NewRedis(t)
	all, log := nodes(t, 2, "redis://"+server.Addr+"/0", Limit{Name: "reads", PerSecond: 0.01, Burst: 100})
	server.Stop()
	for i, l := range all {
		if n := allowed(l, 1, 1000); n != 100 {
			t.Errorf("node %d let %d through; want its own 100", i, n)
		}
	}
	eventually(t, "it is said", func() bool { return strings.Contains(log.String(), "this node's own") })
	time.Sleep(3 * retry / 2)
	if n := strings.Count(log.String(), "this node's own"); n > 2 {
		t.Errorf("it was said %d times by two nodes", n)
	}
	server.Start()
	eventually(t, "what was spent meanwhile, and since, is shared again", func() bool {
		allowed(all[0], 2, 10)
		return all[1].Take(0, 2).Refused
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

// TestNoRoundTripForThePolite: who asks little is never reported.
func TestNoRoundTripForThePolite(t *testing.T) {
	server := testkit.NewRedis(t)
	all, _ := nodes(t, 1, "redis://"+server.Addr+"/0", Limit{Name: "reads", PerSecond: 100, Burst: 200})
	for id := range uint64(10_000) {
		for range 9 { // the tenth would be reported
			all[0].Take(0, id*0x9e3779b97f4a7c15)
		}
	}
	time.Sleep(10 * pause)
	n, err := all[0].shared.redis.client.DBSize(t.Context()).Result()
	if err != nil || n != 0 {
		t.Errorf("%d clients were reported, %v", n, err)
	}
}

func TestBadURL(t *testing.T) {
	if _, err := OpenRedis("http://x", "", slog.Default()); err == nil {
		t.Error("it was taken")
	}
}
