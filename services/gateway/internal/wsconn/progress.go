package wsconn

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// errStalled says that the peer accepted no byte for too long.
var errStalled = errors.New("the socket accepts no bytes")

// stallChecks is how often, per stall, a socket that accepts nothing is looked at: it is dead after the stall and at
// most one part of this many more.
const stallChecks = 8

// progressConn lets a write take as long as it likes while the peer accepts any byte at all, and fails it with
// errStalled once none has been accepted for the stall. It has no write deadlines of its callers.
//
// TLS can't go on after a timeout. There, a record that is not accepted as a whole within the stall is a stall, and
// records are kept small.
type progressConn struct {
	net.Conn
	stall  time.Duration
	chunk  int // written at a time
	checks int

	mu  sync.Mutex
	end time.Time // when writing ends whatever the progress; zero: never. Guarded by mu, with the deadline on Conn
}

func newProgressConn(conn net.Conn, stall time.Duration) *progressConn {
	c := &progressConn{Conn: conn, stall: stall, chunk: 16 << 10, checks: stallChecks}
	if _, ok := conn.(*tls.Conn); ok {
		c.chunk, c.checks = 1<<10, 1
	}
	return c
}

// SetWriteDeadline does nothing: progress is what counts.
func (c *progressConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline for reading.
func (c *progressConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// endBy makes writes fail at t, the one under way too, whatever the progress.
func (c *progressConn) endBy(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = t
	_ = c.Conn.SetWriteDeadline(t)
}

// arm gives the next write its deadline, and tells whether there is time left at all.
func (c *progressConn) arm(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := now.Add(c.stall / time.Duration(c.checks))
	if !c.end.IsZero() {
		if !now.Before(c.end) {
			return false
		}
		if c.end.Before(t) {
			t = c.end
		}
	}
	return c.Conn.SetWriteDeadline(t) == nil
}

func (c *progressConn) Write(p []byte) (int, error) {
	written, progress := 0, time.Now()
	for written < len(p) {
		if !c.arm(time.Now()) {
			return written, os.ErrDeadlineExceeded
		}
		n, err := c.Conn.Write(p[written:min(written+c.chunk, len(p))])
		written += n
		now := time.Now()
		if n > 0 {
			progress = now
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return written, err
		case now.Sub(progress) >= c.stall:
			return written, errStalled
		}
	}
	return written, nil
}
