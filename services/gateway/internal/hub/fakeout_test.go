package hub_test

import (
	"testing"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// puller is an Outlet whose owner is the test: it calls Next itself, whenever it likes.
type puller struct {
	shard *shard.Shard
	woken func()
}

var _ hub.Outlet = puller{}

func (p puller) Wake()               { p.woken() }
func (puller) Claim() bool           { return false }
func (puller) Send([]byte)           { panic("never claimed") }
func (puller) Release()              { panic("never claimed") }
func (puller) Fail(error)            { panic("never claimed") }
func (p puller) Shard() *shard.Shard { return p.shard }

// shards makes a pool for a hub; ended after it.
func shards(t testing.TB, n int) *shard.Pool {
	p := shard.New(n)
	t.Cleanup(p.Close)
	return p
}

// pull adds a client that is asked by the test; woken is called under the hub's locks.
func pull(t testing.TB, h *hub.Hub, pool *shard.Pool, woken func()) *hub.Client {
	t.Helper()
	c, err := h.NewClient(puller{pool.Pick(), woken}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
