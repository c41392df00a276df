//go:build linux

package herd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// client follows one feed as the protocol says: it is told of a head by WebSocket and pulls, through the cache, what brings it there.
// It is of the loop alone. It has one connection to the cache: where an SDK asks for several steps at once, it sends the same requests
// one behind the other, and is answered in that order.
type client struct {
	h      *herd
	socket line // to the gateway
	pipe   line // to the cache
	delay  bool // each pull comes 50 to 500 ms late

	state   *state
	cursor  string // as the server wrote it
	at      wire.Cursor
	want    wire.Cursor
	pulling bool        // from the wish to pull until it is done, delays included
	waiting bool        // an answer is to come
	asked   string      // the path of the pull under way
	floor   wire.Cursor // its at_least
	whole   bool        // Doorbell-Pull: snapshot
	behind  int         // 503s in a row
	steps   []applied
	climb   climb
}

// applied is a moment at which a client came to a cursor.
type applied struct {
	seq int64
	at  int64
}

// line is one connection.
type line struct {
	fd    int // -1: none
	ready bool
	rest  []byte
	out   []byte // to be sent when it is connected
}

// told takes a head that was signalled; since: that a subscription began with.
func (c *client) told(head wire.Cursor, spread time.Duration, since bool) {
	if c.want.Covers(head) {
		return
	}
	c.want = head
	if c.at.Covers(head) {
		return
	}
	c.climb.remember(head, since)
	if !c.pulling {
		c.pull(rand.N(spread + 1))
	}
}

// pull asks for what is missing, after a while.
func (c *client) pull(wait time.Duration) {
	c.pulling = true
	if c.delay {
		wait += 50*time.Millisecond + rand.N(450*time.Millisecond)
	}
	if wait > 0 {
		c.h.timers.After(wait, c.ask)
	} else {
		c.ask()
	}
}

// ask begins to read; what is wanted may have moved on meanwhile.
func (c *client) ask() {
	feed := "/v1/feeds/" + c.h.o.feed
	if !c.walking() && (c.at == (wire.Cursor{}) || c.whole || c.at.Epoch != c.want.Epoch) {
		c.climb.fail() // there are no steps to the newest
		c.floor = c.climb.begin(c.at, c.want)
		c.send(feed + "?at_least=" + c.floor.String())
		return
	}
	c.floor = c.climb.begin(c.at, c.want)
	c.askSince(c.cursor)
}

// askSince asks for a delta that reaches floor.
func (c *client) askSince(since string) { c.send(c.delta(since, c.floor)) }

func (c *client) delta(since string, floor wire.Cursor) string {
	return "/v1/feeds/" + c.h.o.feed + "/changes?since=" + since + "&at_least=" + floor.String()
}

// askSteps asks for the steps from all places.
func (c *client) askSteps() {
	var paths []string
	for _, place := range c.climb.places {
		paths = append(paths, c.delta(place.String(), next(place)))
	}
	c.floor = next(c.climb.places[0])
	c.send(paths...)
}

// send sends the requests for some paths; answers come in their order.
func (c *client) send(paths ...string) {
	c.asked = paths[0]
	c.h.pulls += len(paths)
	var requests []byte
	for _, path := range paths {
		requests = append(requests, "GET "+path+" HTTP/1.1\r\nHost: "+c.h.o.cache+"\r\n\r\n"...)
	}
	if err := c.h.send(c, &c.pipe, c.h.cache, requests); err != nil {
		c.h.trouble(err)
		c.h.hangUp(&c.pipe)
		c.climb.fail()
		c.h.timers.After(200*time.Millisecond, c.ask)
		return
	}
	c.waiting = true
}

// failed gives the steps up, and the answers that are still to come.
func (c *client) failed() {
	if len(c.climb.places) > 0 {
		c.h.hangUp(&c.pipe)
	}
	c.climb.fail()
}

// walking tells whether the client is in the middle of a snapshot of several pages.
func (c *client) walking() bool { return c.state.answer != nil && c.state.answer.More }

// answered takes the answer to the pull.
func (c *client) answered(head wire.Head, body []byte, now int64) error {
	c.h.bytes += len(body)
	c.waiting = false
	switch head.Status {
	case 200:
	case 503, 429, 502, 504:
		c.h.statuses[head.Status]++
		c.behind++
		c.failed()
		c.h.timers.After(time.Duration(min(c.behind, 10))*100*time.Millisecond+rand.N(100*time.Millisecond), c.ask)
		return nil
	case 410:
		c.h.statuses[head.Status]++
		c.state, c.cursor, c.at = c.h.root, "", wire.Cursor{}
		c.failed()
		c.pull(0)
		return nil
	default:
		c.h.statuses[head.Status]++
		return fmt.Errorf("%s was answered with %d: %.200s", c.asked, head.Status, body)
	}
	c.behind = 0
	c.whole = bytes.Equal(head.Get("Doorbell-Pull"), []byte("snapshot"))
	a, err := c.h.parse(c.asked, body)
	if err != nil {
		return err
	}
	if !a.More && !a.at.Covers(c.floor) {
		return fmt.Errorf("%s was answered with %s", c.asked, a.Cursor)
	}
	if len(c.climb.places) > 0 {
		return c.stepped(a, now)
	}
	if !a.snapshot && a.Since != c.cursor {
		return fmt.Errorf("a delta since %q came to a client that is at %q", a.Since, c.cursor)
	}
	c.climb.pages++
	c.state, c.cursor = c.state.apply(a), a.Cursor
	if a.More {
		c.askSince(c.cursor)
		return nil
	}
	c.arrive(a.at, now)
	c.goOn()
	return nil
}

// stepped takes the answer to one of the steps that were asked for after the first.
func (c *client) stepped(a *answer, now int64) error {
	place := c.climb.places[0].String()
	c.climb.places = c.climb.places[1:]
	if a.snapshot || a.Since != place {
		return fmt.Errorf("%s was answered with a delta since %q", c.asked, a.Since)
	}
	if a.Since == c.cursor { // otherwise an answer led further than it was asked to
		c.state, c.cursor = c.state.apply(a), a.Cursor
		if a.More {
			c.failed()
			c.ask()
			return nil
		}
		c.arrive(a.at, now)
	}
	switch {
	case len(c.climb.places) == 0:
		c.goOn()
	case c.pipe.fd < 0: // the cache has had enough of this connection
		c.askSteps()
	default:
		place := c.climb.places[0]
		c.floor = next(place)
		c.asked = c.delta(place.String(), c.floor)
		c.waiting = true
	}
	return nil
}

// arrive notes that the client has all up to a cursor.
func (c *client) arrive(at wire.Cursor, now int64) {
	c.climb.reached(c.at, at)
	c.at = at
	c.steps = append(c.steps, applied{at.Seq, now})
}

// goOn asks for what is known to be missing, or ends the pull.
func (c *client) goOn() {
	switch on := c.climb.goOn(c.at, c.want); {
	case on && len(c.climb.places) > 0:
		c.askSteps()
	case on:
		c.ask()
	default:
		c.pulling = false
		if !c.at.Covers(c.want) {
			c.pull(0)
		}
	}
}

// happened reads what has come on one of the client's connections.
func (c *client) happened(l *line, e epoll.Event) error {
	if !l.ready {
		if err := epoll.Connected(l.fd); err != nil {
			return err
		}
		l.ready = true
		if err := errors.Join(c.h.poller.Modify(l.fd, true, false), epoll.Write(l.fd, l.out)); err != nil {
			return err
		}
		l.out = nil
		return nil
	}
	buf := c.h.buf
	have := copy(buf, l.rest)
	n, err := epoll.Read(l.fd, buf[have:])
	if errors.Is(err, epoll.ErrEmpty) {
		return nil
	}
	if err != nil {
		return c.ended(l, err)
	}
	now := epoll.Now()
	all := buf[:have+n]
	var used int
	if l == &c.socket {
		c.h.signalBytes += n
		used, err = c.h.signals(c, all)
	} else {
		used, err = c.answers(l, e.FD, all, now)
	}
	if err != nil {
		return err
	}
	if used == 0 && len(all) == len(buf) {
		return fmt.Errorf("an answer of more than %d bytes", len(buf))
	}
	if l.is(e.FD) {
		if l.rest = append(l.rest[:0], all[used:]...); len(l.rest) == 0 {
			l.rest = nil
		}
	}
	return nil
}

// answers reads those that have come whole.
func (c *client) answers(l *line, fd int, b []byte, now int64) (used int, err error) {
	for l.is(fd) {
		head, body, n, err := wire.NextAnswer(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		l.rest = nil // before the next request's answer
		if head.Close {
			c.h.hangUp(l)
		}
		if err := c.answered(head, body, now); err != nil {
			return used, err
		}
	}
	return used, nil
}

// is tells whether a line is that connection still, and not another one that got its descriptor.
func (l *line) is(fd int) bool { return l.fd == fd && l.ready }

// ended: a cache may close a connection between two requests; whoever was waiting asks again.
func (c *client) ended(l *line, err error) error {
	if l == &c.socket {
		return fmt.Errorf("a WebSocket was ended: %w", err)
	}
	if !errors.Is(err, io.EOF) {
		c.h.trouble(err)
	}
	c.h.hangUp(l)
	if c.waiting {
		c.waiting = false
		if len(c.climb.places) > 0 {
			c.askSteps()
		} else {
			c.send(c.asked)
		}
	}
	return nil
}

// dial begins a line.
func dial(to netip.AddrPort, n int) (int, error) {
	return epoll.Dial(to, netip.AddrFrom4([4]byte{127, 220, byte(n >> 8), byte(n%250 + 1)}), 0)
}
