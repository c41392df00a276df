//go:build linux

package stage

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// startWithin is how long a server may take until it is ready, on a machine that is busy.
const startWithin = 30 * time.Second

// Server is one process of those that are measured, or that they need. It is ended with its stage.
type Server struct {
	// Role names it in the report; Addr is its host:port.
	Role, Addr string
	PID        int

	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed when it has ended
}

// URL is where it is, without a slash at the end.
func (s *Server) URL() string { return "http://" + s.Addr }

// launch starts a program. ended is the signal that it gets when this process dies without a word.
func launch(t testkit.TB, role, addr string, ended syscall.Signal, program string, args ...string) (*Server, error) {
	return launchReading(t, nil, role, addr, ended, program, args...)
}

// launchReading is launch with a standard input; nil: none.
func launchReading(t testkit.TB, in *os.File, role, addr string, ended syscall.Signal, program string, args ...string) (*Server, error) {
	s := &Server{Role: role, Addr: addr, log: new(tail), done: make(chan struct{})}
	s.cmd = exec.Command(program, args...) //nolint:noctx // Stop ends it
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "DOORBELL_") { // what somebody has set is no part of a measurement
			s.cmd.Env = append(s.cmd.Env, pair)
		}
	}
	if in != nil {
		s.cmd.Stdin = in
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: ended, Setpgid: true}
	s.cmd.WaitDelay = 5 * time.Second // a grandchild may hold on to the pipe
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	s.PID = s.cmd.Process.Pid
	go func() {
		_ = s.cmd.Wait() // what it says is in ProcessState
		close(s.done)
	}()
	t.Cleanup(func() { s.Stop(10 * time.Second) })
	return s, nil
}

// Running tells whether it hasn't ended.
func (s *Server) Running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Terminate asks it to stop, and doesn't wait.
func (s *Server) Terminate() { _ = s.cmd.Process.Signal(syscall.SIGTERM) }

// Done is closed when it has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop asks it to stop, and kills it if it is still there after a while. Stopping what has ended is fine.
func (s *Server) Stop(within time.Duration) {
	s.Terminate()
	select {
	case <-s.done:
	case <-time.After(within):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// waitReady waits until a path is answered with 200.
func (s *Server) waitReady(path string) error {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a certificate that the bench has made
	}}
	for deadline := time.Now().Add(startWithin); ; time.Sleep(20 * time.Millisecond) {
		if !s.Running() {
			return fmt.Errorf("the %s has ended: %s", s.Role, s.log)
		}
		var err error
		for _, scheme := range []string{"http://", "https://"} {
			var res *http.Response
			if res, err = c.Get(scheme + s.Addr + path); err != nil { //nolint:noctx // it has a timeout
				continue
			}
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("the %s isn't ready after %s: %s", s.Role, startWithin, s.log), err)
		}
	}
}

// LastWords are the end of what it has printed.
func (s *Server) LastWords() string { return s.log.String() }

// tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

const tailSize = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b[max(0, len(t.b)-tailSize):]))
}
