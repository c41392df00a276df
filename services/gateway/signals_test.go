package gateway_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// message is all kinds at once.
type message struct {
	ID         *int
	Subscribed map[feed.Name]*string
	Changed    map[feed.Name]*string
	Degraded   *bool
	Pong       *int
}

func (c *client) message() message {
	c.t.Helper()
	var m message
	text := c.next()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	return m
}

// decode reads a message; on a failure it says so and tells false, since it may be on any goroutine.
func (c *client) decode(m *message) bool {
	text, err := c.tryNext()
	if err == nil {
		err = json.Unmarshal([]byte(text), m)
	}
	if err != nil {
		c.t.Error("read:", err)
	}
	return err == nil
}

func parseHead(t testing.TB, text *string) feed.Cursor {
	t.Helper()
	if text == nil {
		return feed.Cursor{}
	}
	c, err := feed.ParseOptionalCursor(*text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSubscribeRace: whatever a writer does meanwhile, who has been told `subscribed` is told of every later head (or
// of one that is newer still), in order, and never before. 2,000 rounds over few feeds, whose following on the bus
// begins and ends all the time.
func TestSubscribeRace(t *testing.T) {
	t.Run("steady", func(t *testing.T) { subscribeRace(t, 2000, false) })
	t.Run("while the bus comes and goes", func(t *testing.T) { subscribeRace(t, 400, true) })
}

func subscribeRace(t *testing.T, rounds int, flap bool) {
	const clients = 4
	h := start(t, func(o *gateway.Options) {
		o.Timings.Linger = time.Millisecond // so that following begins anew in many rounds
		o.Timings.RetryMin, o.Timings.RetryMax = time.Millisecond, time.Millisecond
		o.Logger = slog.New(slog.DiscardHandler)
	})
	var (
		published [4]atomic.Int64
		stop      = make(chan struct{})
		writers   sync.WaitGroup
	)
	name := func(i int) feed.Name { return feed.Name(fmt.Sprintf("prices:%d", i)) }
	writers.Go(func() {
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			i := rand.IntN(len(published))
			switch {
			case flap && n%512 == 0:
				h.bus.Interrupt()
			case flap && n%512 == 128:
				h.bus.Resume()
			}
			if err := h.bus.Publish(t.Context(), name(i), cursor(n)); err == nil {
				published[i].Store(n)
			} else if !flap {
				t.Error(err)
				return
			}
			if n%16 == 0 {
				time.Sleep(100 * time.Microsecond) // leave the others some time
			}
		}
	})
	defer writers.Wait()
	defer close(stop)

	var all sync.WaitGroup
	for who := range clients {
		c := h.dial("")
		if who%2 == 1 {
			c = h.dialBinary("")
		}
		all.Go(func() {
			for round := range rounds / clients {
				if !raceRound(c, who*rounds+round, name, &published) {
					return
				}
			}
		})
	}
	all.Wait()
}

// raceRound subscribes to one feed and waits for a head that was published after the answer.
func raceRound(c *client, id int, name func(int) feed.Name, published *[4]atomic.Int64) bool {
	i := rand.IntN(len(published))
	c.send(fmt.Sprintf(`{"id":%d,"subscribe":{"%s":""}}`, id, name(i)))
	m := c.message()
	for m.ID == nil { // what is still under way of the round before is not ours
		if m.Changed[name(i)] != nil {
			c.t.Errorf("round %d: changed %v before subscribed", id, m.Changed)
			return false
		}
		m = c.message()
	}
	last, subscribed := parseHead(c.t, m.Subscribed[name(i)]), m.Subscribed != nil
	if !subscribed || *m.ID != id {
		c.t.Errorf("round %d: got %+v", id, m)
		return false
	}
	// Whatever has been published by now must be in the answer or come, or something newer.
	target := published[i].Load()
	for last.Seq < target {
		m := c.message()
		head, ok := m.Changed[name(i)]
		if m.Degraded != nil {
			continue
		}
		if !ok {
			c.t.Errorf("round %d: a message without %s", id, name(i))
			return false
		}
		if next := parseHead(c.t, head); next.Compare(last) > 0 {
			last = next
			continue
		}
		c.t.Errorf("round %d: %s after %s", id, *head, last)
		return false
	}
	// The acknowledgement is the border: no signal of this feed comes after it.
	c.send(fmt.Sprintf(`{"id":%d,"unsubscribe":["%s"]}`, id, name(i)))
	for m := c.message(); m.ID == nil; m = c.message() {
		if m.Degraded != nil {
			continue
		}
		next := parseHead(c.t, m.Changed[name(i)])
		if next.Compare(last) <= 0 {
			c.t.Errorf("round %d: %s after %s", id, next, last)
			return false
		}
		last = next
	}
	return true
}

// smallListener gives the gateway's sockets small send buffers.
type smallListener struct{ net.Listener }

func (l smallListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(4 << 10)
	}
	return conn, err
}

// smallSockets makes both ends' buffers small, so that a client that doesn't read is felt soon.
func smallSockets(h *harness) *client {
	h.t.Helper()
	server := httptest.NewUnstartedServer(h.Handler())
	server.Listener = smallListener{server.Listener}
	server.Start()
	h.t.Cleanup(server.Close)
	dialer := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(16 << 10)
		}
		return conn, err
	}}
	ws, response, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+gateway.Path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = ws.Close() })
	c := &client{Conn: ws, t: h.t, response: response}
	c.hello()
	return c
}

// TestStuckReader: 10,000 publishes to a client that doesn't read are a few frames for it, and the last head is there
// as soon as it reads again.
func TestStuckReader(t *testing.T) {
	t.Parallel()
	h := start(t)
	c, other := smallSockets(h), h.dial("")
	const feeds = 200
	c.send(subscribeTo(0, feeds))
	other.send(subscribeTo(0, 1))
	c.next()
	other.next()
	for n := int64(1); n <= 10_000/feeds; n++ {
		for i := range feeds {
			h.publish(feed.Name(fmt.Sprintf("orders:%d", i)), n)
		}
		for other.message().Changed["orders:0"] == nil { //nolint:revive // the other one hears of it meanwhile
		}
	}
	const last = 10_000 / feeds
	heads := map[feed.Name]int64{}
	total, frames := 0, 0
	for done := 0; done < feeds; frames++ {
		text := c.next()
		total += len(text)
		if len(text) > 64<<10 {
			t.Fatalf("a frame of %d bytes", len(text))
		}
		var m message
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		for name, head := range m.Changed {
			seq := parseHead(t, head).Seq
			if seq <= heads[name] {
				t.Fatalf("%s: %d after %d", name, seq, heads[name])
			}
			if heads[name] = seq; seq == last {
				done++
			}
		}
	}
	t.Logf("%d frames, %d bytes", frames, total)
	// What fits the sockets' buffers, the frame that was stuck, and all heads once: far less than was published.
	if total > 200<<10 {
		t.Errorf("%d frames of %d bytes: nothing was left out", frames, total)
	}
}

// TestOneFeedStuckReader floods a single feed until the socket is full, and counts what was kept.
func TestOneFeedStuckReader(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := smallSockets(h)
	name := feed.Name("orders:" + strings.Repeat("x", 120))
	c.send(`{"subscribe":{"` + string(name) + `":""}}`)
	c.next()
	for n := int64(1); n <= 10_000; n++ {
		h.publish(name, n)
	}
	for last, frames := int64(0), 1; last < 10_000; frames++ {
		m := c.message()
		seq := parseHead(t, m.Changed[name]).Seq
		if len(m.Changed) != 1 || seq <= last {
			t.Fatalf("%v after %d", m.Changed, last)
		}
		last = seq
	}
	c.expectNothing(h)
}

// TestCommandsWithoutReading: a client that sends and never reads is not read from any more, long before its answers
// are megabytes; once it reads, it finds them all in their order.
func TestCommandsWithoutReading(t *testing.T) {
	t.Parallel()
	// A ping would fail the client's library, which can't answer once a write of its has timed out.
	h := start(t, func(o *gateway.Options) { o.Timings.PingEvery = time.Hour })
	c := h.dial("")
	command := strings.TrimPrefix(subscribeTo(0, 1000), "{")
	sent := 0
	for ; sent < 5000; sent++ {
		_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		if c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":%d,%s`, sent, command)) != nil {
			break
		}
	}
	_ = c.SetWriteDeadline(time.Time{}) // pings may have to be answered
	if sent == 5000 {
		t.Fatal("it was read from all the time")
	}
	for i := range sent {
		if m := c.message(); m.ID == nil || *m.ID != i || len(m.Subscribed) != 1000 {
			t.Fatalf("answer %d: %v, %d feeds", i, m.ID, len(m.Subscribed))
		}
	}
	t.Logf("%d commands were sent", sent)
}

// TestLargeFlushIsSplit: heads of 1,200 feeds with long names come in frames of at most 1,000 feeds and 64 KiB.
func TestLargeFlushIsSplit(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.dial("")
	pad := strings.Repeat("y", 100)
	const feeds = 1200
	for from := 0; from < feeds; from += 400 {
		var b strings.Builder
		for i := range 400 {
			fmt.Fprintf(&b, `,"orders:%d:%s":""`, from+i, pad)
		}
		c.send(`{"subscribe":{` + b.String()[1:] + `}}`)
		c.next()
	}
	h.bus.Interrupt()
	c.expect(`{"degraded":true}`)
	h.bus.Resume()
	c.expect(`{"degraded":false}`)
	for i := range feeds {
		h.publish(feed.Name(fmt.Sprintf("orders:%d:%s", i, pad)), 1)
	}
	for seen := 0; seen < feeds; {
		text := c.next()
		n := strings.Count(text, pad)
		if seen += n; len(text) > 64<<10 || n > 1000 || n == 0 {
			t.Fatalf("a frame of %d bytes with %d feeds", len(text), n)
		}
	}
}
