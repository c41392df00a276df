//go:build linux

// Package fleet runs crowds in processes of their own and speaks to all of them as one: a process has descriptors for 15,000
// connections or so, and what the clients cost is kept apart from the servers.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// Command names the hidden command that runs a crowd: `doorbell bench crowd`.
const Command = "crowd"

// grace is how long a crowd may take to answer beyond the time that it was given.
const grace = 30 * time.Second

// Fleet is the crowds. Its methods are for one goroutine.
type Fleet struct {
	crowds []*process
	first  int // the number of the next connection
}

// process is one crowd.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	answers chan crowd.Answer // closed when the process says nothing any more
	conns   int
}

// New makes a fleet without crowds. Close ends those that it gets.
func New() *Fleet { return new(Fleet) }

// Close ends all crowds and waits until they are gone.
func (f *Fleet) Close() error {
	var errs []error
	for _, p := range f.crowds {
		p.in.Close()
	}
	for _, p := range f.crowds {
		kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
		for range p.answers { // so that it can get rid of what it still says
		}
		errs = append(errs, p.cmd.Wait())
		kill.Stop()
	}
	f.crowds = nil
	return errors.Join(errs...)
}

// Open starts a crowd and opens its connections. The connections of all crowds of a fleet are numbered through, and each
// crowd comes from addresses of its own, but for those that the Spec says otherwise.
func (f *Fleet) Open(ctx context.Context, spec crowd.Spec, within time.Duration) (crowd.Answer, error) {
	return f.OpenAll(ctx, []crowd.Spec{spec}, within)
}

// OpenAll is Open for several crowds at once.
func (f *Fleet) OpenAll(ctx context.Context, specs []crowd.Spec, within time.Duration) (crowd.Answer, error) {
	var orders []*crowd.Command
	var fresh []*process
	for _, spec := range specs {
		spec.First = f.first
		f.first += spec.Conns
		if spec.Source == "" {
			spec.Source, spec.Sources = fmt.Sprintf("127.%d.0.1", 10+len(f.crowds)), 250
		}
		if spec.Dialing == 0 {
			spec.Dialing = 128
		}
		p, err := start(spec.Conns)
		if err != nil {
			return crowd.Answer{}, err
		}
		f.crowds = append(f.crowds, p)
		fresh = append(fresh, p)
		orders = append(orders, &crowd.Command{Op: crowd.Open, Spec: &spec, Within: within})
	}
	return ask(ctx, fresh, orders, within)
}

// Await waits until every connection that listens has the cursor.
func (f *Fleet) Await(ctx context.Context, cursor wire.Cursor, within time.Duration) (crowd.Answer, error) {
	return f.Do(ctx, crowd.Command{Op: crowd.Await, Cursor: cursor, Within: within})
}

// Do has all crowds do the same, and adds their answers up: moments and heads one after the other.
func (f *Fleet) Do(ctx context.Context, command crowd.Command) (crowd.Answer, error) {
	orders := make([]*crowd.Command, len(f.crowds))
	for i := range orders {
		orders[i] = &command
	}
	return ask(ctx, f.crowds, orders, command.Within)
}

func start(conns int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the binary: %w", err)
	}
	cmd := exec.Command(self, "bench", Command) //nolint:noctx // it ends with its input
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // whatever happens to us
		Setpgid:   true,            // an interrupt at the terminal is for us, who end the crowds in order
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a crowd: %w", err)
	}
	p := &process{cmd: cmd, in: in, orders: json.NewEncoder(in), answers: make(chan crowd.Answer), conns: conns}
	go func() {
		defer close(p.answers)
		for lines := json.NewDecoder(out); ; {
			var a crowd.Answer
			if lines.Decode(&a) != nil {
				return
			}
			p.answers <- a
		}
	}()
	return p, nil
}

func ask(ctx context.Context, processes []*process, orders []*crowd.Command, within time.Duration) (crowd.Answer, error) {
	answers := make([]crowd.Answer, len(processes))
	errs := make([]error, len(processes))
	var asking sync.WaitGroup
	for i, p := range processes {
		asking.Go(func() { answers[i], errs[i] = p.ask(ctx, orders[i], within+grace) })
	}
	asking.Wait()
	var all crowd.Answer
	for _, a := range answers {
		add(&all, a)
	}
	return all, errors.Join(errs...)
}

func (p *process) ask(ctx context.Context, order *crowd.Command, within time.Duration) (crowd.Answer, error) {
	if err := p.orders.Encode(order); err != nil {
		return crowd.Answer{}, fmt.Errorf("a crowd is gone: %w", err)
	}
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case a, ok := <-p.answers:
		if !ok {
			return a, errors.New("a crowd has ended")
		}
		if a.Error != "" {
			return a, fmt.Errorf("a crowd says: %s", a.Error)
		}
		return a, nil
	case <-ctx.Done():
		return crowd.Answer{}, ctx.Err()
	case <-limit.C:
		return crowd.Answer{}, fmt.Errorf("a crowd did not answer %q within %s", order.Op, within)
	}
}

func add(all *crowd.Answer, a crowd.Answer) {
	all.Took = max(all.Took, a.Took)
	all.At = append(all.At, a.At...)
	all.Missing += a.Missing
	all.Heads = append(all.Heads, a.Heads...)
	s, t := &all.Status, a.Status
	s.Live += t.Live
	s.Frames += t.Frames
	s.Bytes += t.Bytes
	s.Busy += t.Busy
	s.Failed += t.Failed
	s.Unknown += t.Unknown
	s.Degraded += t.Degraded
	s.GoAways += t.GoAways
	s.Window = max(s.Window, t.Window)
	if s.Closed == nil {
		s.Closed = map[int]int{}
	}
	for code, n := range t.Closed {
		s.Closed[code] += n
	}
	s.Reconnects = append(s.Reconnects, t.Reconnects...)
	slices.Sort(s.Reconnects)
	s.Problems = append(s.Problems, t.Problems...)
}
