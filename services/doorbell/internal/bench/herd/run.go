//go:build linux

package herd

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const feed = "bench:herd"

// written is a write, and when it was acknowledged (epoll.Now).
type written struct {
	cursor wire.Cursor
	at     int64
}

// crowd measures one crowd behind one cache.
func (b *bench) crowd(ctx context.Context, s *report.Section, t testkit.TB, sc scenario, cache string) error {
	d, err := stage.NewDoorbell(t, stage.Options{Gateways: 1, SignalInterval: b.o.SignalInterval})
	if err != nil {
		return err
	}
	w := d.Writer(2)
	if err := fill(ctx, w, sc.items); err != nil {
		return d.Explain(err)
	}
	origin, err := stage.NewOrigin(t, d.APIs[0], b.o.OriginListen)
	if err != nil {
		return err
	}
	front := origin.Addr
	switch {
	case b.o.Cache != "":
		front = b.o.Cache
	case cache != "none":
		server, err := stage.NewCache(t, cache, b.o.Deployments, origin.Addr, d.Gateways[0].Addr)
		if err != nil {
			return err
		}
		front = server.Addr
	}
	h, err := newHerd(herdOptions{gateway: d.Gateways[0].Addr, cache: front, feed: feed, clients: b.o.Clients / sc.part, late: sc.late})
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.join(ctx); err != nil {
		return d.Explain(fmt.Errorf("the clients come: %w (%v)", err, h.troubles))
	}
	joined, before, signalled := origin.Reads(), h.bytes, h.signalBytes
	pulls := h.pulls

	var writes []written
	var wrong error
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		writes, wrong = keepWriting(ctx, w, b.o.Changes, sc)
		over.Store(true)
	}()
	patience := time.Duration(0)
	err = h.run(ctx, func() bool {
		if !over.Load() {
			return false
		}
		if patience == 0 {
			patience = time.Duration(epoll.Now()) + 30*time.Second
		}
		return h.have(writes) || time.Duration(epoll.Now()) > patience
	})
	<-done
	if err != nil || wrong != nil {
		return d.Explain(fmt.Errorf("changes: %w, %w (%v)", err, wrong, h.troubles))
	}
	stale := h.staleness(writes)
	column := cache
	perChange := float64(origin.Reads()-joined) / float64(len(writes))
	s.Set(column, "origin requests until all had come", "", float64(joined))
	s.Set(column, "origin requests per change", "", perChange)
	s.Set(column, "pulls per change and client", "", float64(h.pulls-pulls)/float64(len(writes)*len(h.all)))
	for _, p := range []float64{50, 99, 100} {
		s.Millis(column, fmt.Sprintf("commit → applied, p%.0f", p), time.Duration(report.Percentile(stale, p)))
	}
	s.Set(column, "bytes of bodies per change and client", "", float64(h.bytes-before)/float64(len(writes)*len(h.all)))
	s.Set(column, "bytes of signals per change and client", "", float64(h.signalBytes-signalled)/float64(len(writes)*len(h.all)))
	s.AtMost(column+": origin requests per change", perChange, sc.origin)
	if sc.p99 > 0 {
		s.AtMost(column+": commit → applied p99, ms", float64(report.Percentile(stale, 99))/1e6, sc.p99)
	}
	if len(h.statuses) > 0 {
		s.Notef("%s: answers that were not 200, by status: %v", column, h.statuses)
	}
	if len(h.troubles) > 0 {
		s.Notef("%s: %v", column, h.troubles)
	}
	return d.Explain(h.check(ctx, s, column, w))
}

// fill makes the feed.
func fill(ctx context.Context, w *stage.Writer, items int) error {
	for first := 0; first < items; first += 1000 {
		var changes []stage.Change
		for n := first; n < min(items, first+1000); n++ {
			changes = append(changes, stage.Change{Key: key(n), Value: json.RawMessage(fmt.Sprintf(`{"price":"%d","n":0}`, 50_140_000+n))})
		}
		if _, err := w.Put(ctx, feed, changes...); err != nil {
			return fmt.Errorf("make the feed: %w", err)
		}
	}
	return nil
}

func key(n int) string { return fmt.Sprintf("item-%05d", n) }

// keepWriting makes changes to random items, at a steady rate.
func keepWriting(ctx context.Context, w *stage.Writer, changes int, sc scenario) ([]written, error) {
	var all []written
	for next := time.Now(); len(all) < changes; {
		value := fmt.Sprintf(`{"price":"%d","n":%d}`, rand.IntN(100_000_000), len(all)+1)
		cursor, err := w.Put(ctx, feed, stage.Change{Key: key(rand.IntN(sc.items)), Value: json.RawMessage(value)})
		if err != nil {
			return all, err
		}
		all = append(all, written{cursor, epoll.Now()})
		next = next.Add(time.Second / time.Duration(sc.rate))
		if err := pause(ctx, time.Until(next)); err != nil {
			return all, err
		}
	}
	return all, nil
}

// have tells whether every client has the last write.
func (h *herd) have(writes []written) bool {
	last := writes[len(writes)-1].cursor
	for _, c := range h.all {
		if !c.at.Covers(last) {
			return false
		}
	}
	return true
}

// staleness is how long after each write's acknowledgement each client had it, in ns.
func (h *herd) staleness(writes []written) []int64 {
	var all []int64
	for _, c := range h.all {
		all = append(all, staleness(c.steps, writes)...)
	}
	return all
}

// staleness is that of one client, for the writes that it has.
func staleness(steps []applied, writes []written) []int64 {
	var all []int64
	for _, w := range writes {
		for len(steps) > 0 && steps[0].seq < w.cursor.Seq {
			steps = steps[1:]
		}
		if len(steps) == 0 {
			break
		}
		all = append(all, steps[0].at-w.at)
	}
	return all
}

// check compares what every client has with what the API says, past the cache.
func (h *herd) check(ctx context.Context, s *report.Section, column string, w *stage.Writer) error {
	truth, cursor, err := load(ctx, w)
	if err != nil {
		return err
	}
	behind, wrong := 0, 0
	verdicts := map[*state]string{} // few: see state
	for _, c := range h.all {
		if c.cursor != cursor {
			behind++
			continue
		}
		verdict, known := verdicts[c.state]
		if !known {
			verdict = difference(c.state.items(), truth)
			verdicts[c.state] = verdict
		}
		if verdict != "" {
			wrong++
			h.trouble(fmt.Errorf("a client has %s", verdict))
		}
	}
	s.Set(column, "clients that are right", "", float64(len(h.all)-behind-wrong))
	if behind+wrong > 0 {
		s.Failf("%s: of %d clients %d don't have the last durable write, and %d have something else: %v",
			column, len(h.all), behind, wrong, h.troubles)
	}
	return nil
}

// load walks the whole feed at the API.
func load(ctx context.Context, w *stage.Writer) (map[string]change, string, error) {
	path := "/v1/feeds/" + feed + "?limit=10000"
	at := newState()
	for {
		_, body, err := w.Get(ctx, path)
		if err != nil {
			return nil, "", err
		}
		a, err := parseAnswer(body, at.answer == nil)
		if err != nil {
			return nil, "", err
		}
		at = at.apply(a)
		if !a.More {
			return at.items(), a.Cursor, nil
		}
		path = "/v1/feeds/" + feed + "/changes?since=" + a.Cursor + "&limit=10000"
	}
}
