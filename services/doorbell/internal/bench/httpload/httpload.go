//go:build linux

// Package httpload asks a server the same thing again and again over connections that stay open, as fast as it answers, with
// one request at a time on each: in one thread, so that most of the machine is the server's.
package httpload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// Load is what to ask.
type Load struct {
	Target string // host:port, IPv4
	Path   string
	// Fields are header lines, each with its line end.
	Fields string
	Conns  int
	// Status and Body are what every answer has to be.
	Status int
	Body   []byte
	// Requests ends it when so many are answered; 0: when the time is over.
	Requests int
	For      time.Duration
}

// Result is how that went.
type Result struct {
	Answers int
	// Wrong counts answers that were not as they have to be, by their status.
	Wrong map[int]int
	Took  time.Duration
	// Latencies are of all answers.
	Latencies []time.Duration
}

// PerSecond is the rate of right answers.
func (r Result) PerSecond() float64 {
	wrong := 0
	for _, n := range r.Wrong {
		wrong += n
	}
	return float64(r.Answers-wrong) / r.Took.Seconds()
}

type conn struct {
	fd   int
	sent int64
	rest []byte
}

// Run asks, and returns when it is done.
func Run(ctx context.Context, l Load) (Result, error) {
	target, err := netip.ParseAddrPort(l.Target)
	if err != nil {
		return Result{}, fmt.Errorf("the target: %w", err)
	}
	poller, err := epoll.NewPoller()
	if err != nil {
		return Result{}, err
	}
	defer poller.Close()
	conns := map[int]*conn{}
	defer func() {
		for fd := range conns {
			epoll.Close(fd)
		}
	}()
	if err := dial(poller, conns, target, l.Conns); err != nil {
		return Result{}, err
	}
	request := []byte("GET " + l.Path + " HTTP/1.1\r\nHost: " + l.Target + "\r\n" + l.Fields + "\r\n")
	r := Result{Wrong: map[int]int{}, Latencies: make([]time.Duration, 0, 1<<18)}
	buf := make([]byte, 256<<10)
	began := epoll.Now()
	for {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		events, err := poller.Wait(100 * time.Millisecond)
		if err != nil {
			return r, err
		}
		for _, e := range events {
			c := conns[e.FD]
			if c.sent == 0 {
				if err := errors.Join(epoll.Connected(c.fd), poller.Modify(c.fd, true, false)); err != nil {
					return r, err
				}
			} else if answered, err := c.read(buf, &l, &r); err != nil {
				return r, err
			} else if !answered {
				continue
			}
			c.sent = epoll.Now()
			if err := epoll.Write(c.fd, request); err != nil {
				return r, err
			}
		}
		r.Took = time.Duration(epoll.Now() - began)
		if l.Requests > 0 && r.Answers >= l.Requests || l.For > 0 && r.Took >= l.For {
			return r, nil
		}
	}
}

// dial adds so many connections to conns, by their descriptors, and has poller tell when they are there.
func dial(poller *epoll.Poller, conns map[int]*conn, target netip.AddrPort, many int) error {
	for n := range many {
		// Each from an address of its own: they stand for clients of whom limits are asked one by one.
		fd, err := epoll.Dial(target, netip.AddrFrom4([4]byte{127, 200, byte(n >> 8), byte(n%250 + 1)}), 0)
		if err != nil {
			return err
		}
		conns[fd] = &conn{fd: fd}
		if err := poller.Add(fd, false, true); err != nil {
			return err
		}
	}
	return nil
}

// read takes what has come, and tells whether that makes an answer.
func (c *conn) read(buf []byte, l *Load, r *Result) (bool, error) {
	have := copy(buf, c.rest)
	n, err := epoll.Read(c.fd, buf[have:])
	if errors.Is(err, epoll.ErrEmpty) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now := epoll.Now()
	all := buf[:have+n]
	head, body, whole, err := wire.NextAnswer(all)
	if err != nil {
		return false, err
	}
	if whole == 0 {
		if len(all) == len(buf) {
			return false, fmt.Errorf("an answer of more than %d bytes", len(buf))
		}
		c.rest = append(c.rest[:0], all...)
		return false, nil
	}
	c.rest = c.rest[:0]
	r.Answers++
	r.Latencies = append(r.Latencies, time.Duration(now-c.sent))
	if head.Status != l.Status || !bytes.Equal(body, l.Body) {
		r.Wrong[head.Status]++
	}
	if head.Close {
		return false, errors.New("the server closes a connection that should stay open")
	}
	return true, nil
}
