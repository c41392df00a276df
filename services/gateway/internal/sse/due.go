package sse

import (
	"math/rand/v2"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/wheel"
)

// due is what we do, and when, in ticks of the wheel; 0: not at all. Guarded by Conn.mu.
type due struct {
	comment wheel.Tick // the next comment is to be written
	alarm   wheel.Tick // the dialogue wants to be called
	timer   wheel.Tick // what the timer is set to: the first of these, or earlier

	commentWanted bool // as soon as the socket takes it
}

var _ wheel.Task = (*Conn)(nil)

// nextComment is spread, so that connections that came together aren't written to together.
func (c *Conn) nextComment() wheel.Tick {
	every := c.opt.CommentEvery
	return c.opt.Wheel.After(every*8/10 + time.Duration(rand.Float64()*float64(every*4/10)))
}

// setTimerLocked sets the timer to what is due first. What has become due later is left to the timer that is set.
func (c *Conn) setTimerLocked() {
	first := wheel.First(c.due.comment, c.due.alarm)
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
	comment, alarm := c.due.comment.Take(now), c.dialogue != nil && c.due.alarm.Take(now) // before Start it waits
	if comment {
		c.due.commentWanted = true
		c.due.comment = c.nextComment()
	}
	c.setTimerLocked()
	c.mu.Unlock()

	if comment {
		c.link.side().Wake()
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

// commentLocked tells whether to write a comment now.
func (c *Conn) commentLocked() bool {
	wanted := c.due.commentWanted
	c.due.commentWanted = false
	return wanted
}
