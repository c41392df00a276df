//go:build unix

package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// readers read feeds through nginx, one after the other, as clients without any patience: nothing is tried again.
type readers struct {
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	done   int      // guarded by mu
	failed []string // guarded by mu
}

func startReaders(t *testing.T, l *load, n int, every time.Duration) *readers {
	t.Helper()
	r := &readers{}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	client := doorbelltest.HTTP(t)
	for i := range n {
		r.running.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := 0; ; n++ {
				path := "/v1/feeds/" + l.feeds[(i+n)%len(l.feeds)]
				if n%2 == 0 {
					path += "/changes?since=0"
				}
				r.read(client, l.c.Nginx.URL()+path)
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	t.Cleanup(r.end)
	return r
}

func (r *readers) end() {
	r.stop()
	r.running.Wait()
}

func (r *readers) read(client *http.Client, url string) {
	said := ""
	res, err := client.Get(url)
	if err != nil {
		said = err.Error()
	} else {
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound { // not written to yet
			body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // for the message alone
			said = fmt.Sprintf("%s: %s: %s", url, res.Status, body)
		}
		_ = res.Body.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if said != "" {
		r.failed = append(r.failed, said)
	}
}

// TestRollingRestart: every process is stopped and started again, one after the other, under load. Whoever comes through nginx
// doesn't notice, but for sockets, which are told to come back.
func TestRollingRestart(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	l := startLoad(t, c, 5, 50*time.Millisecond, 0, 20)
	r := startReaders(t, l, 4, 20*time.Millisecond)
	began := time.Now()
	for _, n := range c.Nodes() {
		l.waitWrites(time.Now(), 3)
		n.Restart()
		l.waitWrites(time.Now(), 3)
	}
	r.end()
	l.end(false)

	var took []time.Duration
	unknown := 0
	for _, o := range l.since(began, "") {
		took = append(took, o.took())
		switch p := problem(o.err); {
		case o.err == nil:
		case p != nil && p.Status == http.StatusBadGateway:
			unknown++ // see below
		default:
			t.Errorf("a write got %v", o.err)
		}
	}
	t.Logf("%d restarts: %d reads, %d failed; %d writes, %d broken off: %s",
		len(c.Nodes()), r.done, len(r.failed), len(took), unknown, spread(took))
	if len(r.failed) > 0 {
		t.Errorf("%d reads failed, the first with: %s", len(r.failed), r.failed[0])
	}
	// A connection that nginx has made and used, and that an API hadn't accepted yet when it stopped listening, is cut. Nobody
	// but the client may then send the write again. It takes the very moment.
	if unknown > 2*len(c.APIs) {
		t.Errorf("%d writes were broken off in %d restarts of an API", unknown, len(c.APIs))
	}
}
