//go:build unix

package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on to a target, and breaks them on demand. It keeps its port for all of its life, and ends
// with the test. Methods return when what they do has taken effect, and are safe for concurrent use.
type Proxy struct {
	// Addr is the proxy's host:port.
	Addr string

	t    TB
	work sync.WaitGroup // accept loops and links

	mu       sync.Mutex
	listener *net.TCPListener // nil when cut
	target   string
	delay    time.Duration
	frozen   bool
	changed  chan struct{} // closed, and made anew, when a link that waits should look again
	links    map[*link]struct{}
}

// link is one connection through the proxy.
type link struct {
	ctx    context.Context // over when the link is
	cancel context.CancelFunc

	// guarded by the proxy's mu
	conns     []*net.TCPConn // the client's, then the target's
	forgotten bool
}

// NewProxy starts a proxy to target (host:port), which need not be there yet.
func NewProxy(t TB, target string) *Proxy {
	t.Helper()
	port, err := freePort()
	or(t, "find a port for a proxy", err)
	p := &Proxy{
		Addr: loopback(port), t: t, target: target,
		changed: make(chan struct{}), links: map[*link]struct{}{},
	}
	or(t, "start a proxy", p.listen())
	t.Cleanup(func() {
		p.Cut()
		p.work.Wait()
	})
	return p
}

// Cut closes all connections and refuses new ones, until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.endLinksLocked(false)
}

// Reset ends all connections with a RST (a peer that reads gets "connection reset by peer"). New ones pass.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLinksLocked(true)
}

// Freeze lets nothing through, without a word: connections stay open and new ones are accepted. What is sent meanwhile
// passes after Heal.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Forget makes the connections of this moment silent for good, as when a firewall has forgotten them: they stay open on both
// sides and carry nothing any more. New ones pass.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.forgotten = true
	}
}

// Delay makes everything sent from now on take d longer, each way. It bounds no rate.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Retarget sends new connections to another target; those that are open stay where they are.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Heal undoes Cut, Freeze and Delay. What Cut, Reset or Forget have done to a connection stays done.
func (p *Proxy) Heal() {
	p.t.Helper()
	p.mu.Lock()
	p.frozen, p.delay = false, 0
	p.changedLocked()
	cut := p.listener == nil
	p.mu.Unlock()
	if cut {
		or(p.t, "heal a proxy", p.listen())
	}
}

// Connections tells how many are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) endLinksLocked(reset bool) {
	for l := range p.links {
		p.endLocked(l, reset)
	}
}

// endLocked closes a link's connections. Ending it twice is fine.
func (p *Proxy) endLocked(l *link, reset bool) {
	l.cancel()
	delete(p.links, l)
	for _, conn := range l.conns {
		if reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
}

func (p *Proxy) end(l *link, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(l, reset)
}

// listen accepts connections in the background until the listener is closed.
func (p *Proxy) listen() error {
	listener, err := net.Listen("tcp4", p.Addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = listener.(*net.TCPListener)
	p.work.Go(func() { p.accept(listener.(*net.TCPListener)) })
	return nil
}

func (p *Proxy) accept(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.t.Errorf("testkit: a proxy can't accept: %v", err)
			}
			return
		}
		ctx, cancel := context.WithCancel(context.Background()) // the link outlives this function
		l := &link{ctx: ctx, cancel: cancel, conns: []*net.TCPConn{conn}}
		p.mu.Lock()
		p.links[l] = struct{}{}
		if p.listener != listener { // cut since
			p.endLocked(l, false)
		}
		p.mu.Unlock()
		p.work.Go(func() { p.serve(l, conn) })
	}
}

// serve carries one connection until it ends.
func (p *Proxy) serve(l *link, client *net.TCPConn) {
	defer p.end(l, false)
	if !p.mayPass(l) {
		return
	}
	target, err := p.dial(l)
	if err != nil {
		p.end(l, true) // as the target would have refused it
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.carry(l, target, client) })
	both.Go(func() { p.carry(l, client, target) })
	both.Wait()
}

func (p *Proxy) dial(l *link) (*net.TCPConn, error) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(l.ctx, "tcp4", target)
	if err != nil {
		return nil, fmt.Errorf("dial the proxy's target: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.conns = append(l.conns, conn.(*net.TCPConn))
	if l.ctx.Err() != nil { // ended since
		p.endLocked(l, false)
	}
	return conn.(*net.TCPConn), nil
}

// mayPass waits until something may pass through the link; false: it has ended.
func (p *Proxy) mayPass(l *link) bool {
	for {
		p.mu.Lock()
		stuck, changed := p.frozen || l.forgotten, p.changed
		p.mu.Unlock()
		if !stuck {
			return l.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return false
		}
	}
}

// parcel is what was read at once, or the error that came instead.
type parcel struct {
	data []byte
	err  error
	due  time.Time // when to pass it on
}

// carry passes on what src says until it has nothing more to say. Reading goes on while what was read waits for its time,
// so that a delay is no bound on the rate.
func (p *Proxy) carry(l *link, dst, src *net.TCPConn) {
	parcels := make(chan parcel, 64)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		for {
			buf := make([]byte, 16<<10)
			n, err := src.Read(buf)
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			select {
			case parcels <- parcel{buf[:n], err, due}:
			case <-l.ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	for {
		var next parcel
		select {
		case next = <-parcels:
		case <-l.ctx.Done():
			return
		}
		select {
		case <-time.After(time.Until(next.due)):
		case <-l.ctx.Done():
			return
		}
		if !p.mayPass(l) {
			return
		}
		if len(next.data) > 0 {
			if _, err := dst.Write(next.data); err != nil {
				p.end(l, true)
				return
			}
		}
		switch {
		case errors.Is(next.err, io.EOF):
			dst.CloseWrite()
			return
		case next.err != nil:
			p.end(l, true)
			return
		}
	}
}
