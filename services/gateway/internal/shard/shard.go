// Package shard runs the work of many connections on few goroutines. A connection belongs to one shard for its life, so
// that what is done for it is done in order.
//
// Jobs must not block: whatever can't be done at once goes to a goroutine of its own. A job's panic is not caught here: only the job
// knows what it has left half done.
package shard

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Job is something to do. Whoever pushes one takes care that it isn't pushed again before it has begun to run: then a queue is
// never longer than there are jobs.
type Job interface{ Run() }

// most is the largest number of shards that is of use: beyond it the kernel is what is slow.
const most = 16

// Pool is all shards of a process.
type Pool struct {
	// Static.
	shards  []*Shard
	running sync.WaitGroup

	next atomic.Uint32
}

// New starts n shards; 0: as many as there are processors. Close ends them.
func New(n int) *Pool {
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0), most)
	}
	p := &Pool{shards: make([]*Shard, n)}
	for i := range p.shards {
		s := &Shard{index: i}
		s.wake.L = &s.mu
		p.shards[i] = s
		p.running.Go(s.run)
	}
	return p
}

// Len is how many shards there are.
func (p *Pool) Len() int { return len(p.shards) }

// Pick gives the shards in turn.
func (p *Pool) Pick() *Shard { return p.shards[int(p.next.Add(1))%len(p.shards)] }

// At gives a shard by its index.
func (p *Pool) At(i int) *Shard { return p.shards[i] }

// Close ends all shards; jobs that have not begun are left out. Closing twice is fine; closing from a job is not.
func (p *Pool) Close() {
	for _, s := range p.shards {
		s.mu.Lock()
		s.closed, s.queue = true, nil
		s.wake.Signal()
		s.mu.Unlock()
	}
	p.running.Wait()
}

// Written is what has been written to sockets.
type Written struct{ Frames, Bytes, Full uint64 }

// Written adds up what the shards have counted.
func (p *Pool) Written() Written {
	var w Written
	for _, s := range p.shards {
		w.Frames += s.frames.Load()
		w.Bytes += s.bytes.Load()
		w.Full += s.full.Load()
	}
	return w
}

// Shard runs jobs one after another, in the order in which they were pushed.
type Shard struct {
	// Static.
	index int

	frames, bytes, full atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	wake   sync.Cond // queue has grown, or closed is set
	queue  []Job
	closed bool
}

// Index is the shard's place in its pool.
func (s *Shard) Index() int { return s.index }

// Count counts a frame that has been handed to a socket of this shard, and whether the socket did not take it at once.
func (s *Shard) Count(bytes int, full bool) {
	s.frames.Add(1)
	s.bytes.Add(uint64(bytes))
	if full {
		s.full.Add(1)
	}
}

// Push adds a job. It does not block; once the pool is closed it does nothing.
func (s *Shard) Push(j Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.queue = append(s.queue, j)
	if len(s.queue) == 1 {
		s.wake.Signal()
	}
}

// keep is the longest queue whose memory is kept.
const keep = 4096

func (s *Shard) run() {
	var jobs []Job
	for {
		if jobs = s.take(jobs); jobs == nil {
			return
		}
		for i, j := range jobs {
			jobs[i] = nil
			j.Run()
		}
		if jobs = jobs[:0]; cap(jobs) > keep {
			jobs = nil
		}
	}
}

// take waits for jobs and swaps the queue for spare. nil: closed.
func (s *Shard) take(spare []Job) []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closed {
		s.wake.Wait()
	}
	if s.closed {
		return nil
	}
	jobs := s.queue
	s.queue = spare
	return jobs
}
