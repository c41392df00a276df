//go:build linux

package crowd_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const (
	feed = "bench:test"
	long = 20 * time.Second // more than anything takes
)

// driver drives a crowd as a bench does.
type driver struct {
	t   *testing.T
	in  *json.Encoder
	out *json.Decoder
}

func drive(t *testing.T) *driver {
	t.Helper()
	orders, in := io.Pipe()
	out, answers := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- crowd.Run(orders, answers) }()
	t.Cleanup(func() {
		in.Close()
		if err := <-ended; err != nil {
			t.Errorf("the crowd ended with %v", err)
		}
	})
	return &driver{t, json.NewEncoder(in), json.NewDecoder(out)}
}

func (d *driver) do(c crowd.Command) crowd.Answer {
	d.t.Helper()
	if c.Within == 0 {
		c.Within = long
	}
	if err := d.in.Encode(c); err != nil {
		d.t.Fatal(err)
	}
	var a crowd.Answer
	if err := d.out.Decode(&a); err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *driver) open(s crowd.Spec) crowd.Answer {
	d.t.Helper()
	s.Feed, s.Subscribe, s.Source, s.Sources, s.Dialing = feed, true, "127.30.0.1", 3, 4
	if s.Path == "" {
		s.Path = "/v1/signals?feed={feed}"
	}
	if s.Transport == "" {
		s.Transport = crowd.WebSocket
	}
	a := d.do(crowd.Command{Op: crowd.Open, Spec: &s})
	if a.Error != "" || a.Missing != 0 || a.Status.Live != s.Conns {
		d.t.Fatalf("opened: %+v", a)
	}
	return a
}

func (d *driver) await(cursor string, within time.Duration) crowd.Answer {
	d.t.Helper()
	c, ok := wire.ParseCursor([]byte(cursor))
	if !ok {
		d.t.Fatalf("%q is no cursor", cursor)
	}
	return d.do(crowd.Command{Op: crowd.Await, Cursor: c, Within: within})
}

func TestEverybodyIsToldOverEveryTransport(t *testing.T) {
	for name, c := range map[string]struct {
		transport string
		tls       bool
	}{
		"WebSocket": {crowd.WebSocket, false}, "SSE": {crowd.Events, false},
		"WebSocket over TLS": {crowd.WebSocket, true}, "SSE over TLS": {crowd.Events, true},
	} {
		t.Run(name, func(t *testing.T) {
			g, d := newGateway(t, c.tls), drive(t)
			d.open(crowd.Spec{Targets: []string{g.addr()}, Conns: 20, Transport: c.transport, TLS: c.tls})
			g.move("0k3f9xa-2")
			if a := d.await("0k3f9xa-2", 0); a.Missing != 0 || len(a.At) != 20 {
				t.Fatalf("after a change: %d miss it, %d have it", a.Missing, len(a.At))
			}
			g.tell(`{"changed":{"` + feed + `":"0k3f9xa-1"}}`) // late: nobody goes back
			if a := d.await("0k3f9xa-2", 0); a.Missing != 0 {
				t.Errorf("%d have gone back", a.Missing)
			}
			if a := d.await("0k3f9xa-3", 100*time.Millisecond); a.Missing != 20 || len(a.At) != 0 {
				t.Errorf("of what was never told: %d miss it, %d have it", a.Missing, len(a.At))
			}
		})
	}
}

func TestWhoIsMuteIsToldOnceHeListens(t *testing.T) {
	g, d := newGateway(t, false), drive(t)
	d.open(crowd.Spec{Targets: []string{g.addr()}, Conns: 5, Mute: true, Receive: 4096})
	g.move("0k3f9xa-2")
	if a := d.await("0k3f9xa-2", 200*time.Millisecond); a.Missing != 0 || len(a.At) != 0 {
		t.Fatalf("those who don't listen: %d miss it, %d have it; want that they don't count", a.Missing, len(a.At))
	}
	d.do(crowd.Command{Op: crowd.Listen})
	if a := d.await("0k3f9xa-2", 0); a.Missing != 0 || len(a.At) != 5 {
		t.Errorf("once they listen: %d miss it, %d have it", a.Missing, len(a.At))
	}
}

func TestWhoIsRefusedComesBack(t *testing.T) {
	g, d := newGateway(t, false), drive(t)
	g.refusals.Store(3)
	if a := d.open(crowd.Spec{Targets: []string{g.addr()}, Conns: 2}); a.Status.Busy != 3 {
		t.Errorf("%d handshakes counted as refused; want 3", a.Status.Busy)
	}
}

func TestWhoHasToGoComesBackElsewhereFromWhereHeWas(t *testing.T) {
	here, there := newGateway(t, false), newGateway(t, false)
	d := drive(t)
	d.open(crowd.Spec{Targets: []string{here.addr(), there.addr()}, Conns: 4, Together: true})
	d.do(crowd.Command{Op: crowd.Reconnect})
	there.move("0k3f9xa-7")
	here.tell(`{"goaway":{"reason":"drain","in_ms":300}}`)
	a := d.await("0k3f9xa-7", 0)
	if a.Missing != 0 || len(a.Status.Reconnects) != 4 || a.Status.GoAways != 4 || a.Status.Window != 300*time.Millisecond {
		t.Fatalf("after goaway: %+v", a)
	}
	if got := there.commands(); strings.Count(got, `"`+feed+`":"0k3f9xa-1"`) != 4 {
		t.Errorf("they subscribed elsewhere with\n%s", got)
	}
	there.cut()
	here.move("0k3f9xa-8")
	if a := d.await("0k3f9xa-8", 0); a.Missing != 0 || a.Status.Closed[1006] != 4 {
		t.Errorf("after the end of their connections: %+v", a)
	}
}

func TestChurnKeepsTheirNumber(t *testing.T) {
	g, d := newGateway(t, false), drive(t)
	d.open(crowd.Spec{Targets: []string{g.addr()}, Conns: 10})
	d.do(crowd.Command{Op: crowd.Churn, Rate: 100})
	for deadline := time.Now().Add(long); strings.Count(g.commands(), "subscribe") < 40; {
		if time.Now().After(deadline) {
			t.Fatal("nobody comes and goes")
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.do(crowd.Command{Op: crowd.Churn})
	g.move("0k3f9xa-2")
	if a := d.await("0k3f9xa-2", 0); a.Missing != 0 || a.Status.Live != 10 {
		t.Errorf("then: %+v", a)
	}
}

func TestWhatMakesNoSense(t *testing.T) {
	d := drive(t)
	for _, c := range []crowd.Command{{Op: "x"}, {Op: crowd.Open}, {Op: crowd.Open, Spec: &crowd.Spec{Targets: []string{"[::1]:1"}}}} {
		if a := d.do(c); a.Error == "" {
			t.Errorf("%+v is done", c)
		}
	}
}
