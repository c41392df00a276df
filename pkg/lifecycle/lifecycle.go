// Package lifecycle starts the parts of a process in order and stops them in reverse.
//
//	Start:  store → bus → worker → api → listener      (a part that fails stops those before it)
//	Stop:   listener → api → worker → bus → store      (each part whatever became of the others)
//
// Stopping what was never started, and stopping twice, are fine.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Part is one thing that is started and stopped. Either function may be nil.
type Part struct {
	Name string
	// Start returns when the part works. Its context is for starting only: what goes on afterwards must not hang on it.
	Start func(ctx context.Context) error
	// Stop returns when nothing of the part runs any more, or when ctx ends.
	Stop func(ctx context.Context) error
}

// Stack is parts in their order. Its methods may be called concurrently, except that Add comes before Start.
type Stack struct {
	// static after Start
	parts  []Part
	failed chan error // has room for one error per part, so that nobody waits

	mu      sync.Mutex // held while starting and stopping
	begun   bool
	started int // how many parts are up
}

// Add puts a part on the top of the stack.
func (s *Stack) Add(p Part) { s.parts = append(s.parts, p) }

// AddRun adds a part that works while run does. run gets a context that ends when the part is stopped, and is to return
// soon after; when it returns an error before that, Failed tells.
func (s *Stack) AddRun(name string, run func(ctx context.Context) error) {
	var cancel context.CancelFunc
	var done chan struct{}
	s.Add(Part{
		Name: name,
		Start: func(ctx context.Context) error {
			ctx, cancel = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // Stop calls it
			done = make(chan struct{})
			go func() {
				defer close(done)
				if err := run(ctx); err != nil && ctx.Err() == nil {
					s.Fail(fmt.Errorf("%s: %w", name, err))
				}
			}()
			return nil
		},
		Stop: func(ctx context.Context) error {
			cancel()
			select {
			case <-done:
				return nil
			case <-ctx.Done():
				return fmt.Errorf("still running: %w", ctx.Err())
			}
		},
	})
}

// Start starts the parts in their order. When one fails, those before it are stopped again in reverse and the error says
// which it was. A stack starts once.
func (s *Stack) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return errors.New("lifecycle: started twice")
	}
	s.begun = true
	s.failed = make(chan error, len(s.parts))
	for _, p := range s.parts {
		err := ctx.Err()
		if err == nil && p.Start != nil {
			err = p.Start(ctx)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), s.stopLocked(context.WithoutCancel(ctx)))
		}
		s.started++
	}
	return nil
}

// Fail says that a part has ended by itself. It is for parts that are up.
func (s *Stack) Fail(err error) {
	select {
	case s.failed <- err:
	default: // as many have failed before, and one is enough to stop for
	}
}

// Failed gives the errors of parts that ended by themselves. It is to be read after Start.
func (s *Stack) Failed() <-chan error { return s.failed }

// Stop stops the parts that are up, in reverse, each although others failed to, and joins their errors.
func (s *Stack) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true // never started: then it shall not be any more
	return s.stopLocked(ctx)
}

func (s *Stack) stopLocked(ctx context.Context) error {
	var errs []error
	for ; s.started > 0; s.started-- {
		if p := s.parts[s.started-1]; p.Stop != nil {
			if err := p.Stop(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", p.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Opened is a part that is opened when it starts, into where others find it, and closed when it stops.
func Opened[T io.Closer](name string, into *T, open func(context.Context) (T, error)) Part {
	return Part{
		Name: name,
		Start: func(ctx context.Context) (err error) {
			*into, err = open(ctx)
			return err
		},
		Stop: func(context.Context) error { return (*into).Close() },
	}
}
