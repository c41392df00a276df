package wsconn

import (
	"net"
	"sync"
	"time"
)

// deadlines keeps the socket's read deadline at the earliest of what the peer owes. It is safe for concurrent use.
type deadlines struct {
	// Static.
	conn net.Conn
	opt  *Options

	mu sync.Mutex
	// Guarded by mu, with the deadline on conn. Zero: not owed.
	pong, message, end time.Time
	frames             uint64 // how many signs of life there have been
}

// seen counts the signs of life so far, for pinged.
func (d *deadlines) seen() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frames
}

// pinged: a ping has been written, and a sign of life is owed, unless there has been one since before: the pong may be
// back before the writer has got here.
func (d *deadlines) pinged(before uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pong.IsZero() && d.frames == before {
		d.pong = time.Now().Add(d.opt.PongWait)
	}
	d.applyLocked()
}

// began: the rest of a message is owed.
func (d *deadlines) began() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.message = time.Now().Add(d.opt.MessageWait)
	d.applyLocked()
}

// alive: there was a control frame.
func (d *deadlines) alive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frames++
	d.pong = time.Time{}
	d.applyLocked()
}

// whole: there was a whole message.
func (d *deadlines) whole() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frames++
	d.pong, d.message = time.Time{}, time.Time{}
	d.applyLocked()
}

// resumed: reading goes on after a pause of our own, during which a sign of life could not have been seen.
func (d *deadlines) resumed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.pong.IsZero() {
		d.pong = time.Now().Add(d.opt.PongWait)
	}
	d.applyLocked()
}

// endBy ends all reading at t.
func (d *deadlines) endBy(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = t
	d.applyLocked()
}

func (d *deadlines) applyLocked() {
	var first time.Time
	for _, t := range []time.Time{d.pong, d.message, d.end} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	_ = d.conn.SetReadDeadline(first) // a closed socket fails the next read anyway
}
