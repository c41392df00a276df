//go:build linux

package crowd

import (
	"container/heap"
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
	later   timers
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
		events, err := c.poller.Wait(c.rest())
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
		for len(c.later) > 0 && c.later[0].due <= now {
			heap.Pop(&c.later).(timer).do() //nolint:forcetypeassert // it holds nothing else
		}
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

// rest is how long the loop may wait. A command may come between two looks: hence the bound.
func (c *Crowd) rest() time.Duration {
	rest := 20 * time.Millisecond
	if len(c.later) > 0 {
		rest = min(rest, max(0, time.Duration(c.later[0].due-epoll.Now())))
	}
	return rest
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

// after does something later.
func (c *Crowd) after(d time.Duration, do func()) {
	heap.Push(&c.later, timer{epoll.Now() + int64(d), do})
}

// timer is one thing to do, timers a heap of them.
type timer struct {
	due int64
	do  func()
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push is heap's.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) } //nolint:forcetypeassert // heap.Push is called with nothing else

// Pop is heap's.
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
