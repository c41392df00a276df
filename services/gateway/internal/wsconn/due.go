package wsconn

import (
	"math/rand/v2"
	"time"

	"github.com/gorilla/websocket"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// due is what the peer owes and what we do, and when, in ticks of the wheel; 0: not at all. Guarded by Conn.mu.
type due struct {
	ping    wheel.Tick // the next ping is to be written
	pong    wheel.Tick // a sign of life is owed
	message wheel.Tick // the rest of a message is owed
	alarm   wheel.Tick // the dialogue wants to be called
	timer   wheel.Tick // what the timer is set to: the first of these, or earlier

	frames uint32     // signs of life so far
	before uint32     // those when the last ping was written
	wanted wheel.Tick // when the ping that is wanted was due
	flags  uint8
}

const (
	pingWanted = 1 << iota // a ping is to be written as soon as the socket takes it
	pinging                // it is being written
	paused                 // the dialogue has the message: nothing is read, by our own choice
)

var _ wheel.Task = (*Conn)(nil)

// nextPing is when to ping, spread so that connections that came together don't ping together. It is never later than 20 %
// over the mean, the wheel's lateness included, so that a silent peer is gone in time.
func (c *Conn) nextPing() wheel.Tick {
	every := c.opt.PingEvery
	least, most := every*8/10, every*12/10-2*c.opt.Wheel.Span(1)
	return c.opt.Wheel.After(least + time.Duration(rand.Float64()*float64(max(0, most-least))))
}

// setTimerLocked sets the timer to what is due first. What has become due later is left to the timer that is set.
func (c *Conn) setTimerLocked() {
	pong := c.due.pong
	if c.due.flags&paused != 0 { // it could not be seen; the end of the pause sets the time anew
		pong = 0
	}
	first := wheel.First(c.due.ping, pong, c.due.message, c.due.alarm)
	if c.reason != nil || first == 0 || (c.due.timer != 0 && c.due.timer <= first) {
		return
	}
	c.due.timer = first
	c.opt.Wheel.Set(&c.timer, c, first)
}

// Due is the wheel's.
func (c *Conn) Due(now wheel.Tick) {
	c.mu.Lock()
	if c.reason != nil {
		c.mu.Unlock()
		return
	}
	c.due.timer = 0
	late := c.due.flags&paused == 0 && c.due.pong.Take(now)
	late = c.due.message.Take(now) || late
	ping, alarm := c.due.ping.Take(now), c.dialogue != nil && c.due.alarm.Take(now) // before Start it waits
	if ping {
		c.due.flags |= pingWanted
		c.due.wanted = now
	}
	c.setTimerLocked()
	c.mu.Unlock()

	if late {
		c.opt.Counts.Silent.Add(1)
		c.stop(&ending{Close: wire.Close{Code: websocket.CloseAbnormalClosure, Reason: "no sign of life"}})
		return
	}
	if ping {
		c.out.Wake()
	}
	if alarm {
		go c.guarded(func() {
			if err := c.dialogue.Alarm(); err != nil {
				c.refused(err)
			}
		})
	}
}

// AlarmAt has the dialogue's Alarm called at t, or soon after, in the place of the time that was set before; in a day if t is further
// away. The zero time: not at all.
func (c *Conn) AlarmAt(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due.alarm = 0; !t.IsZero() {
		c.due.alarm = c.opt.Wheel.At(t)
	}
	c.setTimerLocked()
}

// alive: there was a control frame.
func (c *Conn) alive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due.frames++
	c.due.pong = 0
}

// began: the rest of a message is owed.
func (c *Conn) began() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due.message = c.opt.Wheel.After(c.opt.MessageWait)
	c.setTimerLocked()
}

// whole: there was a whole message. Reading pauses.
func (c *Conn) whole() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due.frames++
	c.due.pong, c.due.message = 0, 0
	c.due.flags |= paused
}

// resumed: reading goes on after a pause of our own, during which a sign of life could not have been seen.
func (c *Conn) resumed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due.flags &^= paused
	if c.due.pong != 0 {
		c.due.pong = c.opt.Wheel.After(c.opt.PongWait)
		c.setTimerLocked()
	}
}

// lateAfter is how long after it was due a ping is counted as late.
const lateAfter = time.Second

// pingLocked tells whether to write a ping now.
func (c *Conn) pingLocked() bool {
	if c.due.flags&pingWanted == 0 {
		return false
	}
	c.due.flags = c.due.flags&^pingWanted | pinging
	c.due.before = c.due.frames
	return true
}

// pingWrittenLocked: if a ping was being written, a sign of life is owed, unless there has been one since: the pong may be
// back before we have got here.
func (c *Conn) pingWrittenLocked() {
	if c.due.flags&pinging == 0 {
		return
	}
	c.due.flags &^= pinging
	if c.opt.Wheel.After(0) > c.due.wanted+c.opt.Wheel.Ticks(lateAfter) {
		c.opt.Counts.PingsLate.Add(1)
	}
	if c.due.pong == 0 && c.due.frames == c.due.before {
		c.due.pong = c.opt.Wheel.After(c.opt.PongWait)
	}
	c.due.ping = c.nextPing()
	c.setTimerLocked()
}
