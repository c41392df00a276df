package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

func TestDegraded(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) {
		o.Timings.RetryMin, o.Timings.RetryMax = time.Millisecond, 5*time.Millisecond
	})
	h.publish("prices:a", 1)
	old := h.dial("")
	old.send(`{"subscribe":{"prices:a":""}}`)
	old.expect(`{"subscribed":{"prices:a":` + at(1) + `}}`)

	h.bus.Interrupt()
	old.expect(`{"degraded":true}`)
	if s := h.Status(); s.BusAlive || !s.Ready {
		t.Errorf("status %+v", s)
	}
	fresh := h.dialBinary("")
	fresh.expect(`{"degraded":true}`)
	// What is followed and what isn't: nothing is known of either, and nobody waits.
	fresh.send(`{"id":1,"subscribe":{"prices:a":"","prices:b":""}}`)
	fresh.expect(`{"id":1,"subscribed":{"prices:a":null,"prices:b":null}}`)
	old.send(`{"id":2,"subscribe":{"prices:a":""}}`)
	old.expect(`{"id":2,"subscribed":{"prices:a":null}}`)

	h.bus.Resume()
	// The head that old knew comes again, since it was told null. prices:b is not known to anybody.
	old.expect(`{"changed":{"prices:a":`+at(1)+`}}`, `{"degraded":false}`)
	fresh.expect(`{"changed":{"prices:a":`+at(1)+`}}`, `{"degraded":false}`)
	h.publish("prices:a", 2)
	old.expect(`{"changed":{"prices:a":` + at(2) + `}}`)
	fresh.expect(`{"changed":{"prices:a":` + at(2) + `}}`)
	h.eventually("prices:b is followed in the end", func() bool {
		h.publish("prices:b", 1)
		return true
	})
	fresh.expect(`{"changed":{"prices:b":` + at(1) + `}}`)
	fresh.expectNothing(h)
}

func TestManyDegraded(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := h.dial("")
	c.send(subscribeTo(0, 1000))
	c.next()
	for n := int64(1); n <= 50; n++ {
		h.bus.Interrupt()
		h.bus.Resume()
		h.publish(feed.Name(fmt.Sprintf("orders:%d", n)), n)
	}
	degraded, heads := false, 0
	for heads < 50 || degraded {
		m := c.message()
		heads += len(m.Changed)
		if m.Degraded != nil {
			if *m.Degraded == degraded {
				t.Fatalf("told twice in a row: degraded %v", degraded)
			}
			degraded = *m.Degraded
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	h := start(t)
	var clients []*client
	for range 10 {
		clients = append(clients, h.dial(""))
	}
	if !h.Status().Ready {
		t.Error("not ready")
	}
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	for _, c := range clients {
		c.expectClose(1012)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if s := h.Status(); s.Ready || s.Connections != 0 {
		t.Errorf("status %+v", s)
	}
	_, response, err := websocket.DefaultDialer.Dial(h.url(), nil)
	if err == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("a draining gateway says %v", err)
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	h.Close()
	h.Close()
}

// TestCloseOfPeersThatDoNotAnswer: who never answers the close frame holds up nobody for longer than CloseWait.
func TestCloseOfPeersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.CloseWait = 50 * time.Millisecond })
	h.dial("")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Drain(ctx); err != nil {
		t.Error(err)
	}
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.CloseWait = time.Second })
	h.dial("")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := h.Drain(ctx); err == nil {
		t.Error("a peer that doesn't answer was waited for beyond the context")
	}
}

// TestComeAndGo: clients that connect, subscribe and vanish while all else happens leave nothing behind.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) {
		o.Timings.Linger = time.Millisecond
		o.Timings.RetryMin = time.Millisecond
		o.Logger = slog.New(slog.DiscardHandler)
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 20 {
				c := h.dial("")
				c.send(subscribeTo(rand.IntN(50), 50))
				if i%2 == 0 {
					_, _ = c.tryNext()
				}
				if i%3 == 0 {
					c.send(`{"unsubscribe":["orders:50"]}`)
				}
				_ = c.Close()
			}
		})
	}
	all.Go(func() {
		for n := range int64(200) {
			if n%20 == 0 {
				h.bus.Interrupt()
			}
			_ = h.bus.Publish(t.Context(), feed.Name(fmt.Sprintf("orders:%d", n%50)), cursor(n))
			if n%20 == 10 {
				h.bus.Resume()
			}
		}
		h.bus.Resume()
	})
	all.Wait()
	h.eventually("nothing is left", func() bool {
		s := h.Status()
		return s.Connections == 0 && s.Feeds == 0
	})
}
