package gateway_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway"
)

// goaway is the message.
type goaway struct {
	Reason string `json:"reason"`
	InMS   int    `json:"in_ms"`
}

// expectGoaway reads up to it.
func (c *client) expectGoaway() goaway {
	c.t.Helper()
	for {
		var m struct {
			Goaway *goaway `json:"goaway"`
		}
		if err := json.Unmarshal([]byte(c.next()), &m); err != nil {
			c.t.Fatal(err)
		}
		if m.Goaway != nil {
			return *m.Goaway
		}
	}
}

// TestDrainIsSpread: clients are asked to go one after another over the window; those who go are gone, those who stay are closed
// with 1012, and signals come up to then.
func TestDrainIsSpread(t *testing.T) {
	t.Parallel()
	const window = 3 * time.Second
	h := start(t, func(o *gateway.Options) { o.Timings.DrainWindow = window })
	const clients = 60
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		when []time.Duration
		from time.Time
	)
	stays := h.dial("")
	stays.send(`{"subscribe":{"prices:a":""}}`)
	stays.next()
	var cs []*client
	for range clients {
		cs = append(cs, h.dial(""))
	}
	from = time.Now()
	for _, c := range cs {
		all.Go(func() {
			m := c.expectGoaway()
			if m.Reason != "drain" || m.InMS != int(window.Milliseconds())/4 {
				t.Errorf("got %+v", m)
			}
			time.Sleep(time.Duration(rand.IntN(m.InMS)) * time.Millisecond)
			mu.Lock()
			when = append(when, time.Since(from))
			mu.Unlock()
			_ = c.Close()
		})
	}
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	h.eventually("it isn't ready", func() bool { return !h.Status().Ready })
	h.refusedWith503()
	h.publish("prices:a", 1)
	stays.expect(`{"changed":{"prices:a":` + at(1) + `}}`)
	all.Wait()
	stays.expectClose(1012)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	slices.Sort(when)
	// Some go early and some late; how evenly is for the driver to say, which has the machine for itself.
	if early, late := when[clients/4], when[clients*3/4]; early > window*3/4 || late < window/4 {
		t.Errorf("a quarter was gone after %s, three after %s", early, late)
	}
}

// TestDrainWithoutConnections takes no time.
func TestDrainWithoutConnections(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.DrainWindow = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// TestCloseDoesNotWaitForTheWindow, nor does a drain whose context ends.
func TestCloseDoesNotWaitForTheWindow(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.DrainWindow = time.Hour })
	c := h.dial("")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Drain(ctx); err == nil {
		t.Error("drained in no time")
	}
	c.expectClose(1012)
	h.Close()
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	h := start(t, func(o *gateway.Options) { o.Timings.MaxAge = time.Second })
	c := h.dial("")
	if m := c.expectGoaway(); m.Reason != "age" || m.InMS != 100 {
		t.Errorf("got %+v", m)
	}
	c.expectClose(1012)
}
