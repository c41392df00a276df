// Package process runs commands of the doorbell binary as processes of their own: it keeps what they print, stops and
// kills them, and starts `doorbell dev` again where it was.
//
// A process stays in the process group of whoever started it, so that what ends a test run ends its servers too, and is
// only ever signalled by its handle, never by its name.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Process is one run of a command. Its methods may be called from many goroutines.
type Process struct {
	// Out and Err are what it has printed so far.
	Out, Err *Output

	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended and all that it printed is in Out and Err
}

// Options are what a command is started with, beside its arguments.
type Options struct {
	// Env is put on top of the environment, from which all DOORBELL_… are taken: what the developer has set is no part
	// of a test.
	Env []string
	// In is its standard input.
	In string
	// Dir is where it runs; "" is here.
	Dir string
}

// Start starts a command.
func Start(bin string, args []string, o Options) (*Process, error) {
	p := &Process{Out: new(Output), Err: new(Output), done: make(chan struct{})}
	p.cmd = exec.Command(bin, args...) //nolint:noctx // it ends with Kill or Stop
	p.cmd.Env = append(environment(), o.Env...)
	p.cmd.Dir = o.Dir
	p.cmd.Stdin = strings.NewReader(o.In)
	p.cmd.Stdout, p.cmd.Stderr = p.Out, p.Err
	p.cmd.SysProcAttr = attributes()
	p.cmd.WaitDelay = 5 * time.Second // a grandchild may hold on to the pipes
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", bin, err)
	}
	go func() {
		_ = p.cmd.Wait() // what it says is in ProcessState
		close(p.done)
	}()
	return p, nil
}

func environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "DOORBELL_") {
			env = append(env, pair)
		}
	}
	return env
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether it hasn't ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode waits for the end, and gives -1 when it was a signal's.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal; that the process has ended is no error.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends it with SIGKILL, and returns when it is gone. Killing what has ended is fine.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks it to end with SIGTERM, and gives its exit code, or an error when it is still there after the time given.
func (p *Process) Stop(within time.Duration) (int, error) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("still running %s after SIGTERM", within)
	}
}
