package outlet

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// Source is what there is to write. It is called by one party at a time.
type Source interface {
	// Frame appends the next frame to b and gives the frame, which may begin within b; or nothing, if there is none right
	// now. That it is called again means that all of the frame before has been written.
	Frame(b []byte) []byte
	// WriteFailed says that the socket takes nothing any more, or is [ErrStalled]. It is the last call.
	WriteFailed(err error)
}

// Options is what all outlets share. All of it is static.
type Options struct {
	// Stall is how long a socket may accept no byte.
	Stall time.Duration
	// Lanes are for sockets that can't be tried; nil: any number at a time.
	Lanes *Lanes
}

// Outlet is the write side of one socket. It is safe for concurrent use.
type Outlet struct {
	// Static after Init.
	conn   net.Conn
	raw    syscall.RawConn // nil: conn can't be tried
	shard  *shard.Shard
	source Source
	opt    *Options

	state atomic.Uint32

	mu  sync.Mutex
	end time.Time // when writing ends whatever the progress; zero: never. Guarded by mu, with the deadline on conn
}

// The bits of state.
const (
	queued  = 1 << iota // in the shard's queue
	writing             // somebody owns the write side
	again               // who owns it asks the source once more before letting go
)

// most is how many frames a shard writes for one outlet before the others have their turn.
const most = 8

// buffers lends one for as long as a frame is being written.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer is the largest buffer that is kept for the next frame.
const keepBuffer = 8 << 10

// Init prepares an outlet for conn, all of whose writing is its own from now on.
func (o *Outlet) Init(conn net.Conn, s *shard.Shard, source Source, opt *Options) {
	o.conn, o.shard, o.source, o.opt = conn, s, source, opt
	switch c := conn.(type) { // not any that has a raw one: it may be that of a connection below, which knows less
	case *net.TCPConn:
		o.raw, _ = c.SyscallConn()
	case *net.UnixConn:
		o.raw, _ = c.SyscallConn()
	}
}

// Conn is what the outlet writes to.
func (o *Outlet) Conn() net.Conn { return o.conn }

// Shard is the one that the outlet belongs to.
func (o *Outlet) Shard() *shard.Shard { return o.shard }

// Wake makes the owner ask the source, soon. It takes no locks but the shard's.
func (o *Outlet) Wake() {
	for {
		switch s := o.state.Load(); {
		case s&(writing|again) == writing:
			if o.state.CompareAndSwap(s, s|again) {
				return
			}
		case s&writing != 0, s&queued != 0:
			return
		default:
			if o.state.CompareAndSwap(s, s|queued) {
				o.shard.Push(o)
				return
			}
		}
	}
}

// Run is the shard's.
func (o *Outlet) Run() {
	o.state.And(^uint32(queued))
	if o.Claim() {
		o.pump()
		return
	}
	o.Wake() // the owner asks
}

// Claim takes the write side, to Send or Release, and tells whether it could.
func (o *Outlet) Claim() bool {
	for {
		s := o.state.Load()
		if s&writing != 0 {
			return false
		}
		if o.state.CompareAndSwap(s, s|writing) {
			return true
		}
	}
}

// Send writes the frame, which it doesn't keep, and releases.
func (o *Outlet) Send(frame []byte) {
	if o.try(frame) {
		o.Release()
	}
}

// Release gives the write side back, having written what there is if somebody has asked for that meanwhile.
func (o *Outlet) Release() {
	if !o.release() {
		o.pump()
	}
}

// Fail has the source told that nothing is written any more. It is for whoever has the write side, and keeps it taken.
func (o *Outlet) Fail(err error) { o.source.WriteFailed(err) }

// release gives the write side back, unless somebody has left a mark.
func (o *Outlet) release() bool {
	for {
		s := o.state.Load()
		if s&again != 0 {
			o.state.And(^uint32(again))
			return false
		}
		if o.state.CompareAndSwap(s, s&^writing) {
			return true
		}
	}
}

// pump writes what there is. The write side is taken before, and given back or handed on after.
func (o *Outlet) pump() {
	buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer giveBack(buf)
	for range most {
		frame := o.frame(buf)
		if len(frame) == 0 {
			if o.release() {
				return
			}
			continue
		}
		if !o.try(frame) {
			return
		}
	}
	o.state.And(^uint32(writing | again))
	o.Wake()
}

// frame asks the source, and keeps what the buffer has grown to.
func (o *Outlet) frame(buf *[]byte) []byte {
	frame := o.source.Frame((*buf)[:0])
	if cap(frame) > cap(*buf) {
		*buf = frame[:0]
	}
	return frame
}

func giveBack(buf *[]byte) {
	if cap(*buf) <= keepBuffer {
		buffers.Put(buf)
	}
}

// try writes what the socket takes at once. When it doesn't take all, the write side has been handed on.
func (o *Outlet) try(frame []byte) bool {
	if o.raw != nil {
		n, err := attempt(o.raw, frame)
		switch {
		case err != nil:
			o.source.WriteFailed(err) // the side stays taken: nobody writes any more
			return false
		case n == len(frame):
			o.shard.Count(n, false)
			return true
		}
		o.shard.Count(n, true)
		frame = frame[n:]
	}
	rest := append([]byte(nil), frame...)
	if o.raw == nil {
		o.opt.Lanes.run(func() { o.finish(rest) })
	} else {
		go o.finish(rest)
	}
	return false
}

// finish writes the rest of a frame, and then what is newest, for as long as the socket takes it.
func (o *Outlet) finish(rest []byte) {
	if o.raw == nil {
		o.shard.Count(len(rest), false)
	}
	if _, err := o.write(rest); err != nil {
		o.source.WriteFailed(err)
		return
	}
	buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer giveBack(buf)
	for {
		frame := o.frame(buf)
		if len(frame) == 0 {
			o.disarm()
			if o.release() {
				return
			}
			continue
		}
		o.shard.Count(len(frame), false)
		if _, err := o.write(frame); err != nil {
			o.source.WriteFailed(err)
			return
		}
	}
}

// trial is one attempt's argument and result. It is kept, with its function, because those of a [syscall.RawConn] escape.
type trial struct {
	p   []byte
	n   int
	err error
	f   func(fd uintptr) bool
}

var trials = sync.Pool{New: func() any {
	t := new(trial)
	t.f = t.write
	return t
}}

// write always says that it is done, so that nobody waits for room.
func (t *trial) write(fd uintptr) bool {
	for {
		t.n, t.err = syscall.Write(int(fd), t.p)
		if !errors.Is(t.err, syscall.EINTR) {
			return true
		}
	}
}

// attempt writes what fits. That nothing does is no error.
func attempt(raw syscall.RawConn, p []byte) (int, error) {
	t := trials.Get().(*trial) //nolint:forcetypeassert // the pool has nothing else
	defer func() {
		t.p = nil
		trials.Put(t)
	}()
	t.p, t.n, t.err = p, 0, nil
	if err := raw.Write(t.f); err != nil {
		return 0, err
	}
	if errors.Is(t.err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(t.n, 0), t.err
}
