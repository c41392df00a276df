//go:build linux

package crowd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// Crowd is the connections and the loop that they live in. All of it is of the loop, but the two channels.
type Crowd struct {
	commands chan *Command // nil: no more come
	shaken   chan shaken

	poller  *epoll.Poller
	out     *json.Encoder
	spec    Spec
	targets []netip.AddrPort
	conns   []*conn
	byFD    map[int]*conn
	queue   []*conn // to be dialled
	later   epoll.Timers
	dialing int
	status  Status
	buf     []byte // what is being read
	text    []byte // of an event stream, without its chunks

	returns bool // connections that end come back
	opening *opening
	waiting *waiting
	churn   churn
	nudged  int64 // when nudge did its work
}

// opening is an Open that isn't answered yet, waiting such an Await.
type opening struct {
	began, deadline int64
	left            int
}

type waiting struct {
	command  *Command
	deadline int64
	left     int
}

// churn is how many connections are replaced a second, and when the next is.
type churn struct {
	rate int
	next int64
}

// Run is a crowd's whole life: commands from in, answers to out, until in ends.
func Run(in io.Reader, out io.Writer) error {
	poller, err := epoll.NewPoller()
	if err != nil {
		return err
	}
	defer poller.Close()
	c := &Crowd{
		commands: make(chan *Command), shaken: make(chan shaken, 1<<10),
		poller: poller, out: json.NewEncoder(out), byFD: map[int]*conn{}, buf: make([]byte, 256<<10),
	}
	wrong := make(chan error, 1)
	go func() {
		for lines := json.NewDecoder(in); ; {
			command := new(Command)
			if err := lines.Decode(command); err != nil {
				wrong <- err
				command = nil
			}
			go poller.Wake() // or it may come before the loop looks
			c.commands <- command
			if command == nil {
				return
			}
		}
	}()
	defer func() {
		for _, k := range c.conns {
			k.forget()
		}
	}()
	if err := c.loop(); err != nil {
		return err
	}
	if err := <-wrong; !errors.Is(err, io.EOF) {
		return fmt.Errorf("read a command: %w", err)
	}
	return nil
}

func (c *Crowd) loop() error {
	for {
		// Churn, nudges and deadlines are looked at in turn: hence the bound.
		events, err := c.poller.Wait(c.later.Rest(20 * time.Millisecond))
		if err != nil {
			return err
		}
		for _, e := range events {
			if k := c.byFD[e.FD]; k != nil {
				c.happened(k, e)
			}
		}
		if done, err := c.listen(); done || err != nil {
			return err
		}
		now := epoll.Now()
		c.replace(now)
		c.nudge(now)
		c.later.Run(now)
		c.dial()
		if err := c.answerOverdue(now); err != nil {
			return err
		}
	}
}

// listen takes what came from other goroutines.
func (c *Crowd) listen() (done bool, err error) {
	for {
		select {
		case s := <-c.shaken:
			c.shook(s)
		case command := <-c.commands:
			if command == nil {
				return true, nil
			}
			if err := c.obey(command); err != nil {
				return true, err
			}
		default:
			return false, nil
		}
	}
}

// replace lets connections go and others come, as churn says.
func (c *Crowd) replace(now int64) {
	for c.churn.rate > 0 && now >= c.churn.next {
		c.churn.next += int64(time.Second) / int64(c.churn.rate)
		if k := c.conns[rand.IntN(len(c.conns))]; k.state == live {
			c.drop(k)
			c.queue = append(c.queue, k)
		}
	}
}

// nudgeEvery is how often connections that don't read, and so answer no ping, say that they are alive.
const nudgeEvery = 5 * time.Second

// nudge lets muted connections say a word, so that the server takes them for slow and not for dead.
func (c *Crowd) nudge(now int64) {
	if !c.spec.Mute || c.spec.Transport != WebSocket || now < c.nudged+int64(nudgeEvery) {
		return
	}
	c.nudged = now
	for _, k := range c.conns {
		if k.muted {
			if err := k.write(wire.AppendFrame(nil, wire.Pong, nil)); err != nil {
				c.problem(err)
			}
		}
	}
}

// drop forgets a connection's socket without a word.
func (c *Crowd) drop(k *conn) {
	if k.state == live {
		c.status.Live--
	}
	if k.fd >= 0 {
		delete(c.byFD, k.fd)
	}
	if k.state > idle && k.state < live {
		c.dialing--
	}
	k.forget()
}
