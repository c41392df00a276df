package rest

import "sync"

// maxIdle is how many goroutines of a crew stay when they have nothing to do: as many as run at once on any machine, about.
const maxIdle = 64

// crew runs what needs a large stack on goroutines that have one already. It never makes anybody wait for another's work: when all
// are busy there is one more. It is safe for concurrent use.
type crew struct {
	work chan func()   // nobody takes it but who is idle
	room chan struct{} // a place for each who is
	end  chan struct{} // closed: they go
	once sync.Once
}

func newCrew() *crew {
	return &crew{work: make(chan func()), room: make(chan struct{}, maxIdle), end: make(chan struct{})}
}

// do has f run, which must not panic.
func (c *crew) do(f func()) {
	select {
	case c.work <- f:
	default:
		go c.serve(f)
	}
}

func (c *crew) serve(f func()) {
	for {
		f()
		select {
		case c.room <- struct{}{}:
		default:
			return
		}
		select {
		case f = <-c.work:
			<-c.room
		case <-c.end:
			return
		}
	}
}

// close has the idle ones go; do may still be called. Closing twice is fine.
func (c *crew) close() { c.once.Do(func() { close(c.end) }) }
