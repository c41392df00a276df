package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// counted starts a gateway whose metrics are seen.
func counted(t *testing.T, change func(*gateway.Options)) (*harness, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewRegistry()
	return start(t, func(o *gateway.Options) {
		o.Metrics = r
		if change != nil {
			change(o)
		}
	}), r
}

// value reads a metric; the label is the value of its only one, "" for none.
func value(t *testing.T, r *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "doorbell_gateway_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			if label == "" || (len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("there is no %s{%s}", name, label)
	return 0
}

// refusedWith503 wants a handshake to be refused, with a time to come back.
func (h *harness) refusedWith503() {
	h.t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial(h.url(), nil)
	if err == nil {
		_ = ws.Close()
		h.t.Fatal("a handshake too many was let in")
	}
	if response == nil {
		h.t.Fatal(err)
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	if response.StatusCode != http.StatusServiceUnavailable || seconds < 1 || seconds > 5 {
		h.t.Errorf("refused with %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, func(o *gateway.Options) { o.Limits.Connections = 3 })
	c := h.dial("")
	h.dial("")
	h.dial("")
	h.refusedWith503()
	_ = c.Close()
	h.eventually("a place is free", func() bool { return h.Status().Connections == 2 })
	h.dial("")
	h.refusedWith503()
	if n := value(t, metrics, "limited_total", "connections"); n != 2 {
		t.Errorf("%v counted", n)
	}
	if n := value(t, metrics, "handshakes_total", "full"); n != 2 {
		t.Errorf("%v handshakes counted as refused", n)
	}
	if n := value(t, metrics, "connections", "websocket"); n != 3 {
		t.Errorf("%v connections", n)
	}
}

func TestTooManyHandshakes(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, func(o *gateway.Options) { o.Limits.Handshakes = 1 })
	h.dial("")
	h.refusedWith503()
	if n := value(t, metrics, "limited_total", "handshakes"); n != 1 {
		t.Errorf("%v counted", n)
	}
}

var milliseconds = regexp.MustCompile(`^(\d+) ms$`)

// expectTooMany wants a close with 4029 whose reason is a delay, within bounds.
func (c *client) expectTooMany(least, most time.Duration) {
	c.t.Helper()
	for {
		_, err := c.tryNext()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 4029 {
			c.t.Fatalf("ended with %v", err)
		}
		m := milliseconds.FindStringSubmatch(closed.Text)
		if m == nil {
			c.t.Fatalf("the reason is %q", closed.Text)
		}
		ms, _ := strconv.Atoi(m[1])
		if delay := time.Duration(ms) * time.Millisecond; delay < least || delay > most {
			c.t.Errorf("told to wait for %s", delay)
		}
		return
	}
}

func TestTooManyOfOneSubject(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, func(o *gateway.Options) { o.Limits.PerSubject = 2 })
	token := func(secret string) http.Header { return http.Header{"Authorization": {"Bearer " + secret}} }
	first := h.dial(alice)
	h.dial(aliceLess) // another token of the same subject
	h.open(token(alice)).expectTooMany(5*time.Second, 10*time.Second)
	h.dial(bob)
	for range 5 {
		h.dial("") // nobody is no subject
	}
	late := h.dial("")
	late.send(`{"auth":"` + alice + `"}`)
	late.expectTooMany(5*time.Second, 10*time.Second)
	_ = first.Close()
	h.eventually("a place is free", func() bool { return len(h.Sessions("alice")) == 1 })
	h.dial(alice)
	if n := value(t, metrics, "limited_total", "subject"); n != 2 {
		t.Errorf("%v counted", n)
	}
	h.eventually("closes are counted", func() bool { return value(t, metrics, "closes_total", "4029") == 2 })
}

func TestTooManyCommands(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, func(o *gateway.Options) { o.Limits.Commands = 2 })
	c := h.dial("")
	for n := range 20 { // ten seconds' worth
		c.send(fmt.Sprintf(`{"ping":%d}`, n))
		c.next()
	}
	go func() {
		for n := range 200 { // it takes a second to earn two
			if c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"ping":%d}`, n)) != nil {
				return
			}
		}
	}()
	c.expectTooMany(time.Second, 2*time.Second)
	if n := value(t, metrics, "limited_total", "commands"); n != 1 {
		t.Errorf("%v counted", n)
	}
}

// TestTooManyBadCommands: what is refused counts as well.
func TestTooManyBadCommands(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, func(o *gateway.Options) { o.Limits.Commands = 2 })
	c := h.dial("")
	go func() {
		for n := range 200 {
			command := `{"ping"`
			if n%5 == 0 { // so that there are not too many malformed ones in a row
				command = subscribeTo(0, 1001)
			}
			if c.WriteMessage(websocket.TextMessage, []byte(command)) != nil {
				return
			}
		}
	}()
	c.expectTooMany(time.Second, 2*time.Second)
	if n := value(t, metrics, "limited_total", "commands"); n != 1 {
		t.Errorf("%v counted", n)
	}
}

// TestTooManyControlFrames: they count as well, and no more comes back than was sent.
func TestTooManyControlFrames(t *testing.T) {
	t.Parallel()
	for name, opcode := range map[string]int{"pings": websocket.PingMessage, "pongs": websocket.PongMessage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, metrics := counted(t, func(o *gateway.Options) { o.Limits.Commands = 2 })
			c := h.dial("")
			pongs := 0
			c.SetPongHandler(func(string) error {
				pongs++
				return nil
			})
			go func() {
				for range 200 {
					if c.WriteControl(opcode, []byte("x"), time.Now().Add(patience)) != nil {
						return
					}
				}
			}()
			c.expectTooMany(time.Second, 2*time.Second)
			if n := value(t, metrics, "limited_total", "commands"); n != 1 {
				t.Errorf("%v counted", n)
			}
			if pongs > 21 {
				t.Errorf("%d answers", pongs)
			}
		})
	}
}

func TestTooManyFeedsIsCounted(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, func(o *gateway.Options) { o.Limits.Feeds = 5 })
	c := h.dial("")
	c.send(subscribeTo(0, 5))
	c.next()
	c.send(subscribeTo(0, 6))
	c.expectError("", "too_many_feeds", "5")
	if n := value(t, metrics, "limited_total", "feeds"); n != 1 {
		t.Errorf("%v counted", n)
	}
	if n := value(t, metrics, "subscriptions", ""); n != 5 {
		t.Errorf("%v subscriptions", n)
	}
}

// lagging is a bus that knows its lag.
type lagging struct{ *membus.Bus }

func (lagging) Lag() time.Duration { return 250 * time.Millisecond }

func TestTheBusLagIsSeen(t *testing.T) {
	t.Parallel()
	_, metrics := counted(t, func(o *gateway.Options) { o.Bus = lagging{o.Bus.(*membus.Bus)} })
	if lag := value(t, metrics, "bus_lag_seconds", ""); lag != 0.25 {
		t.Errorf("%v seconds", lag)
	}
}

// TestMetrics of a life: each figure says what happened.
func TestMetrics(t *testing.T) {
	t.Parallel()
	h, metrics := counted(t, nil)
	var all []*client
	for range 3 {
		c := h.dial("")
		c.send(`{"subscribe":{"prices:a":""}}`)
		c.next()
		all = append(all, c)
	}
	frames, bytes := value(t, metrics, "frames_total", ""), value(t, metrics, "bytes_total", "")
	h.publish("prices:a", 1)
	want := `{"changed":{"prices:a":` + at(1) + `}}`
	for _, c := range all {
		c.expect(want)
	}
	h.bus.Interrupt()
	for _, c := range all {
		c.expect(`{"degraded":true}`)
	}
	if alive := value(t, metrics, "bus_alive", ""); alive != 0 {
		t.Error("the bus is said to be alive")
	}
	h.bus.Resume()
	for _, c := range all {
		c.expect(`{"degraded":false}`)
	}
	h.eventually("frames are counted", func() bool { return value(t, metrics, "frames_total", "")-frames == 9 })
	size := 3 * (len(want) + len(`{"degraded":true}`) + len(`{"degraded":false}`) + 3*2)
	if n := value(t, metrics, "bytes_total", "") - bytes; n != float64(size) {
		t.Errorf("%v bytes, want %d", n, size)
	}
	for name, least := range map[string]float64{"signals_total": 1, "degraded_seconds_total": 1e-9, "flush_seconds": 1, "feeds": 1} {
		if n := value(t, metrics, name, ""); n < least {
			t.Errorf("%s is %v", name, n)
		}
	}
	if n := value(t, metrics, "handshakes_total", "accepted"); n != 3 {
		t.Errorf("%v handshakes", n)
	}
	h.Close()
	if families, err := metrics.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after Close there are %d, %v", len(families), err)
	}
}
