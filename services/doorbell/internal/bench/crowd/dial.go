//go:build linux

package crowd

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
)

const (
	// giveUp is how often in a row a connection may fail before it is given up.
	giveUp = 8
	// minBackoff and maxBackoff bound the waits before reconnects, which have full jitter: as the protocol asks of clients.
	minBackoff, maxBackoff = 500 * time.Millisecond, 30 * time.Second
	// problems is how many are remembered in words.
	problems = 5
)

// dial begins as many of the connections that wait for it as may be under way at once.
func (c *Crowd) dial() {
	for c.dialing < max(c.spec.Dialing, 1) && len(c.queue) > 0 {
		k := c.queue[0]
		c.queue = c.queue[1:]
		if k.state != idle {
			continue
		}
		fd, err := epoll.Dial(c.targets[k.target%len(c.targets)], k.source(&c.spec), c.spec.Receive)
		if err == nil {
			if err = c.poller.Add(fd, false, true); err != nil {
				epoll.Close(fd)
			}
		}
		if err != nil {
			c.failed(k, err)
			continue
		}
		k.fd, k.state = fd, connecting
		c.byFD[fd] = k
		c.dialing++
	}
}

// connected goes on with a socket that is connected, or isn't.
func (c *Crowd) connected(k *conn) {
	if err := epoll.Connected(k.fd); err != nil {
		c.failed(k, err)
		return
	}
	if c.spec.TLS {
		if err := c.poller.Modify(k.fd, false, false); err != nil {
			c.failed(k, err)
			return
		}
		k.state = shaking
		c.shake(k)
		return
	}
	c.ask(k)
}

func (c *Crowd) shook(s shaken) {
	if s.err != nil {
		c.failed(s.k, fmt.Errorf("TLS: %w", s.err))
		return
	}
	s.k.tls = s.life
	c.ask(s.k)
}

func (c *Crowd) ask(k *conn) {
	k.state = asking
	err := c.poller.Modify(k.fd, true, false)
	if err == nil {
		err = k.write(k.request(&c.spec))
	}
	if err != nil {
		c.failed(k, err)
		return
	}
	if c.spec.Transport == LongPoll {
		c.joined(k)
	}
}

// failed tries a connection again later, or gives it up.
func (c *Crowd) failed(k *conn, err error) {
	c.drop(k)
	k.fails++
	c.problem(err)
	if k.fails >= giveUp && !c.returns {
		c.status.Failed++
		c.settled()
		return
	}
	k.target++
	c.comeBack(k, backoff(k.fails))
}

// busy tries a connection again when the server said, and somewhat later.
func (c *Crowd) busy(k *conn, retryAfter []byte) {
	c.drop(k)
	c.status.Busy++
	wait := time.Second
	if seconds, err := strconv.Atoi(string(retryAfter)); err == nil {
		wait = time.Duration(seconds) * time.Second
	}
	c.comeBack(k, wait+rand.N(time.Second))
}

// ended is for a connection that has worked and is over, with the close code.
func (c *Crowd) ended(k *conn, code int, err error) {
	c.drop(k)
	if c.status.Closed == nil {
		c.status.Closed = map[int]int{}
	}
	c.status.Closed[code]++
	if err != nil {
		c.problem(err)
	}
	if c.returns {
		c.leave(k, backoff(0))
	}
}

// leave reconnects at a random moment of a time, to the next server.
func (c *Crowd) leave(k *conn, within time.Duration) {
	if k.leaves {
		return
	}
	k.leaves = true
	c.later.After(rand.N(max(within, 1)), func() {
		k.leaves = false
		c.drop(k)
		k.target++
		c.status.Reconnects = append(c.status.Reconnects, epoll.Now())
		c.queue = append(c.queue, k)
	})
}

func (c *Crowd) comeBack(k *conn, wait time.Duration) {
	c.later.After(wait, func() {
		if k.state == idle {
			c.queue = append(c.queue, k)
		}
	})
}

// backoff is a random wait after so many failures in a row.
func backoff(fails int) time.Duration {
	return rand.N(min(minBackoff<<min(fails, 10), maxBackoff))
}

func (c *Crowd) problem(err error) {
	if len(c.status.Problems) < problems {
		c.status.Problems = append(c.status.Problems, err.Error())
	}
}
