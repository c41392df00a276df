package gateway_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// TestCrowd: while signals fly, some clients only listen, some stop reading for a while, and others come and go. Nobody who
// stays is cut off, no cursor goes back, and in the end each has the last of every feed.
func TestCrowd(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Logger = slog.New(slog.DiscardHandler) })
	const feeds, writes = 5, 4000
	name := func(i int) feed.Name { return feed.Name(fmt.Sprintf("orders:%d:%s", i, strings.Repeat("x", 90))) }
	var (
		written [feeds]atomic.Int64
		over    atomic.Bool
		all     sync.WaitGroup
	)
	subscribe := func(c *client) {
		var b strings.Builder
		for i := range feeds {
			fmt.Fprintf(&b, `,"%s":""`, name(i))
		}
		c.send(`{"subscribe":{` + b.String()[1:] + `}}`)
	}
	for who := range 24 {
		c := h.dial("")
		if who%2 == 0 {
			c = smallSockets(h)
		}
		subscribe(c)
		all.Go(func() { listenToTheEnd(c, who%4 == 0, name, &written, &over) })
	}
	for range 4 { // they come and go
		all.Go(func() {
			for !over.Load() {
				ws, _, err := websocket.DefaultDialer.Dial(h.url(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				c := &client{Conn: ws, t: t}
				subscribe(c)
				_ = ws.SetReadDeadline(time.Now().Add(time.Second)) // writing may be over
				for n := rand.IntN(20); n > 0 && err == nil; n-- {
					_, _, err = ws.ReadMessage()
				}
				_ = ws.Close()
			}
		})
	}
	for n := int64(1); n <= writes; n++ {
		i := rand.IntN(feeds)
		h.publish(name(i), n)
		written[i].Store(n)
		if n%50 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	over.Store(true)
	for i := range feeds { // so that everybody has something to wait for
		written[i].Store(writes + 1)
	}
	for i := range feeds {
		h.publish(name(i), writes+1)
	}
	all.Wait()
}

// listenToTheEnd reads, with long pauses if told to, until writing is over and it has the last of every feed.
func listenToTheEnd(c *client, stalls bool, name func(int) feed.Name, written *[5]atomic.Int64, over *atomic.Bool) {
	heads := map[feed.Name]int64{}
	hasAll := func() bool {
		for i := range written {
			if heads[name(i)] < written[i].Load() {
				return false
			}
		}
		return true
	}
	for {
		if over.Load() && hasAll() {
			return
		}
		if over.Load() {
			stalls = false
		}
		var m message
		if !c.decode(&m) {
			return
		}
		for n, head := range m.Subscribed {
			heads[n] = max(heads[n], parseHead(c.t, head).Seq)
		}
		for n, head := range m.Changed {
			seq := parseHead(c.t, head).Seq
			if seq <= heads[n] {
				c.t.Errorf("%s: %d after %d", n, seq, heads[n])
				return
			}
			heads[n] = seq
		}
		if stalls && rand.IntN(20) == 0 {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
	}
}

// TestVanishedPeers: peers that are gone without a word are gone here, too, once they owe a pong; whoever answers stays.
func TestVanishedPeers(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) {
		o.Timings.PingEvery, o.Timings.PongWait = 500*time.Millisecond, 6*time.Second
	})
	proxy := testkit.NewProxy(t, h.server.Listener.Addr().String())
	stays := h.dial("")
	go func() { // reading answers pings
		for {
			if _, _, err := stays.ReadMessage(); err != nil {
				return
			}
		}
	}()
	for range 20 {
		ws, _, err := websocket.DefaultDialer.Dial("ws://"+proxy.Addr+gateway.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() })
		go func() {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
			}
		}()
	}
	time.Sleep(3 * time.Second) // several pings: all answer
	if n := h.Status().Connections; n != 21 {
		t.Fatalf("%d connections", n)
	}
	proxy.Freeze()
	h.eventually("the vanished are gone", func() bool { return h.Status().Connections == 1 })
	stays.send(`{"ping":1}`)
	if err := h.bus.Publish(t.Context(), "prices:a", cursor(1)); err != nil {
		t.Error(err)
	}
	if n := h.Status().Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}
