//go:build linux

// Package epoll is what the load generator's clients stand on: many sockets in one thread, without a goroutine, a buffer or
// a timer for each, so that the client costs far less than the server that it measures on the same machine.
//
//	Dial ─▶ Poller.Add ─▶ Poller.Wait ─▶ the owner reads what is readable ─▶ Wait …
//
// Sockets are plain descriptors. Everything but [Poller.Wake] is for the one goroutine that waits.
package epoll

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Event says what can be done with a descriptor. A connection that has ended is readable.
type Event struct {
	FD                 int
	Readable, Writable bool
}

// Poller waits for many descriptors at once, level-triggered.
type Poller struct {
	fd, wake int
	raw      []unix.EpollEvent
	events   []Event
}

// NewPoller makes a Poller, which has two descriptors of its own.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(fd))
	}
	const batch = 1024 // descriptors in one wait
	p := &Poller{fd: fd, wake: wake, raw: make([]unix.EpollEvent, batch), events: make([]Event, 0, batch)}
	if err := p.Add(wake, true, false); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close frees the poller's own descriptors.
func (p *Poller) Close() error { return errors.Join(unix.Close(p.wake), unix.Close(p.fd)) }

// Add begins to watch a descriptor. Closing it ends that.
func (p *Poller) Add(fd int, readable, writable bool) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, readable, writable)
}

// Modify changes what a descriptor is watched for; for nothing is fine.
func (p *Poller) Modify(fd int, readable, writable bool) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, readable, writable)
}

func (p *Poller) control(op, fd int, readable, writable bool) error {
	event := unix.EpollEvent{Fd: int32(fd)}
	if readable {
		event.Events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if writable {
		event.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.fd, op, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Wake makes the present or the next Wait return. It may be called from any goroutine.
func (p *Poller) Wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:]) // full means that it is awake already
}

// Wait waits until something can be done, somebody calls Wake, or the time is over (negative: no limit). The events are
// valid until the next Wait.
func (p *Poller) Wait(limit time.Duration) ([]Event, error) {
	millis := -1
	if limit >= 0 {
		millis = int((limit + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, p.raw, millis)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	p.events = p.events[:0]
	for _, raw := range p.raw[:max(n, 0)] {
		if int(raw.Fd) == p.wake {
			var sink [8]byte
			_, _ = unix.Read(p.wake, sink[:]) // it only counts
			continue
		}
		p.events = append(p.events, Event{
			FD:       int(raw.Fd),
			Readable: raw.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
			Writable: raw.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0,
		})
	}
	return p.events, nil
}
