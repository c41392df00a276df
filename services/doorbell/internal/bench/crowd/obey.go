//go:build linux

package crowd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// obey carries a command out, or begins to. An error is about the answer: the crowd can't go on.
func (c *Crowd) obey(command *Command) error {
	switch command.Op {
	case Open:
		if err := c.open(command); err != nil {
			return c.answer(Answer{Error: err.Error()})
		}
		return nil
	case Await:
		c.waiting = &waiting{command: command, deadline: epoll.Now() + int64(command.Within)}
		for _, k := range c.conns {
			if !k.muted && !k.head.Covers(command.Cursor) {
				c.waiting.left++
			}
		}
		return nil // answered in this turn of the loop, if it holds already
	case Heads:
		heads := make([]wire.Cursor, len(c.conns))
		for i, k := range c.conns {
			heads[i] = k.head
		}
		return c.answer(Answer{Heads: heads})
	case Tell:
	case Listen:
		for _, k := range c.conns {
			if k.muted {
				k.muted = false
				if err := c.poller.Modify(k.fd, true, false); err != nil {
					c.problem(err)
				}
			}
		}
		c.spec.Mute = false
	case Reconnect:
		c.returns = true
	case Churn:
		c.returns = true
		c.churn = churn{rate: command.Rate, next: epoll.Now()}
	default:
		return c.answer(Answer{Error: fmt.Sprintf("the command %q is not known", command.Op)})
	}
	return c.answer(Answer{})
}

func (c *Crowd) open(command *Command) error {
	if command.Spec == nil || len(command.Spec.Targets) == 0 || c.conns != nil {
		return errors.New("a crowd is opened once, with targets")
	}
	c.spec = *command.Spec
	for _, target := range c.spec.Targets {
		at, err := netip.ParseAddrPort(target)
		if err != nil || !at.Addr().Is4() {
			return fmt.Errorf("the target %q is not an IPv4 address with a port", target)
		}
		c.targets = append(c.targets, at)
	}
	c.conns = make([]*conn, c.spec.Conns)
	for i := range c.conns {
		c.conns[i] = &conn{number: c.spec.First + i, fd: -1, head: c.spec.From}
		if !c.spec.Together {
			c.conns[i].target = i
		}
	}
	c.queue = append(c.queue, c.conns...)
	now := epoll.Now()
	c.opening = &opening{began: now, deadline: now + int64(command.Within), left: len(c.conns)}
	return nil
}

// settled is one connection of those that are being opened less.
func (c *Crowd) settled() {
	if c.opening != nil {
		c.opening.left--
	}
}

// answerOverdue answers what can be answered now, or has waited long enough.
func (c *Crowd) answerOverdue(now int64) error {
	if o := c.opening; o != nil && (o.left <= 0 || now >= o.deadline) {
		c.opening = nil
		return c.answer(Answer{Took: time.Duration(now - o.began), Missing: len(c.conns) - c.status.Live})
	}
	if w := c.waiting; w != nil && (w.left <= 0 || now >= w.deadline) {
		c.waiting = nil
		a := Answer{At: make([]int64, 0, len(c.conns))}
		for _, k := range c.conns {
			switch {
			case k.muted:
			case k.head.Covers(w.command.Cursor):
				a.At = append(a.At, k.at)
			default:
				a.Missing++
			}
		}
		return c.answer(a)
	}
	return nil
}

func (c *Crowd) answer(a Answer) error {
	a.Status = c.status
	if err := c.out.Encode(a); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
