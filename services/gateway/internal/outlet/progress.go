package outlet

import (
	"crypto/tls"
	"errors"
	"os"
	"time"
)

// ErrStalled says that the peer accepted no byte for too long.
var ErrStalled = errors.New("the socket accepts no bytes")

// stallChecks is how often, per stall, a socket that accepts nothing is looked at: it is dead after the stall and at
// most one part of this many more.
const stallChecks = 8

const (
	chunk    = 16 << 10 // written at a time
	chunkTLS = 1 << 10
)

// Write is for what comes before any frame: the handshake's answer.
func (o *Outlet) Write(p []byte) (int, error) {
	defer o.disarm()
	return o.write(p)
}

// write lets a write take as long as it likes while the peer accepts any byte at all, and fails it with [ErrStalled] once
// none has been accepted for the stall. It is for the owner of the write side.
//
// TLS can't go on after a timeout. There, a record that is not accepted as a whole within the stall is a stall, and
// records are kept small.
func (o *Outlet) write(p []byte) (int, error) {
	size, check := chunk, o.opt.Stall/stallChecks
	if _, ok := o.conn.(*tls.Conn); ok {
		size, check = chunkTLS, o.opt.Stall
	}
	written, progress := 0, time.Now()
	for written < len(p) {
		if !o.arm(time.Now(), check) {
			return written, os.ErrDeadlineExceeded
		}
		n, err := o.conn.Write(p[written:min(written+size, len(p))])
		written += n
		now := time.Now()
		if n > 0 {
			progress = now
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return written, err
		case now.Sub(progress) >= o.opt.Stall:
			return written, ErrStalled
		}
	}
	return written, nil
}

// EndBy makes writes fail at t, the one under way too, whatever the progress.
func (o *Outlet) EndBy(t time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = t
	_ = o.conn.SetWriteDeadline(t)
}

// arm gives the next write its deadline, and tells whether there is time left at all.
func (o *Outlet) arm(now time.Time, check time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := now.Add(check)
	if !o.end.IsZero() {
		if !now.Before(o.end) {
			return false
		}
		if o.end.Before(t) {
			t = o.end
		}
	}
	return o.conn.SetWriteDeadline(t) == nil
}

// disarm takes the last write's deadline off, which would be that of the next attempt too.
func (o *Outlet) disarm() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end.IsZero() {
		_ = o.conn.SetWriteDeadline(time.Time{})
	}
}
