//go:build unix

package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	pollEvery    = 5 * time.Millisecond
)

// server is one program that may be started, stopped and started again, in a folder of its own. It is not safe for
// concurrent use; what embeds it has a lock.
type server struct {
	// static after construction
	name  string
	dir   string // its folder, removed by remove
	log   string // what it prints, of all its lives
	owner *syscall.Credential
	quit  syscall.Signal // ends it at once, but cleanly
	ready func() error   // nil when it answers

	// its present life
	pid   int      // 0: it isn't running
	leash *os.File // closed: the watchdog ends the server; a line: the watchdog goes
}

// newServer makes the folder of a server that runs as owner (nil: as this process does).
func newServer(name string, owner *syscall.Credential) (*server, error) {
	dir, err := os.MkdirTemp("", "doorbell-"+name+"-")
	if err != nil {
		return nil, err
	}
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		if err := mayEnter(filepath.Dir(dir)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return &server{name: name, dir: dir, log: filepath.Join(dir, "log"), owner: owner, quit: syscall.SIGTERM}, nil
}

// mayEnter tells whether any user may come through the folder: a server with a user of its own has to.
func mayEnter(dir string) error {
	for {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return err
		case info.Mode()&1 == 0:
			return fmt.Errorf("the server's user can't enter %s (mode %s): chmod o+x it, or set TMPDIR", dir, info.Mode())
		case dir == filepath.Dir(dir):
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

// watchdog becomes the server ("$@" from $4 on) and leaves a child that waits on fd 3. When that ends without a line, the
// process that started the server is gone, or wants the server to be: it ends it, with a signal that lets it clean up
// first ($1; a frozen one, and its children, have to be woken for that), and removes the folder ($2), or leaves it ($2 empty).
const watchdog = `
signal=$1 dir=$2 server=$$
shift 2
(
	trap '' INT TERM HUP
	if read -r _ <&3; then exit; fi
	ps -A -o pid= -o ppid= | while read -r pid parent; do
		if [ "$parent" = "$server" ] && [ "$pid" != "$$" ]; then kill -CONT "$pid"; fi
	done
	kill -"$signal" "$server" && kill -CONT "$server"
	n=0
	while kill -0 "$server" && [ $n -lt 15 ]; do sleep 0.1; n=$((n + 1)); done
	kill -KILL "$server"
	if [ -n "$dir" ]; then rm -rf "$dir"; fi
) 2>/dev/null >&2 </dev/null &
exec "$@" 3<&-
`

// start starts the program and returns when it is ready.
func (s *server) start(program string, args ...string) error {
	read, leash, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Join(err, leash.Close())
	}
	defer log.Close()
	args = append([]string{"-c", watchdog, "sh", fmt.Sprint(int(s.quit)), s.dir, program}, args...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.Env = s.dir, serverEnv()
	cmd.Stdout, cmd.Stderr = log, log // files: no goroutine copies them
	cmd.ExtraFiles = []*os.File{read}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, leash.Close())
	}
	s.pid, s.leash = cmd.Process.Pid, leash
	cmd.Process.Release() // signalled and waited for by its pid, so that looking whether it has ended takes no goroutine
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(pollEvery) {
		if s.gone() {
			err := fmt.Errorf("%s ended as it started:\n%s", s.name, s.lastWords())
			return err
		}
		err := s.ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%s isn't ready after %s: %w\n%s", s.name, startTimeout, err, s.lastWords()), s.kill())
		}
	}
}

// serverEnv is the environment without what would lead a server or its clients astray (PGOPTIONS, LC_ALL, …).
func serverEnv() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// gone tells whether the process has ended.
func (s *server) gone() bool {
	if s.pid == 0 {
		return true
	}
	for {
		pid, err := syscall.Wait4(s.pid, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case pid == 0 && err == nil:
			return false
		default:
			s.leash.WriteString("gone\n") // before anybody else can get the pid: it was ours until Wait4
			s.leash.Close()
			s.pid, s.leash = 0, nil
			return true
		}
	}
}

// stop ends the server with the signal and returns when it is gone.
func (s *server) stop(signal syscall.Signal) error {
	if s.pid == 0 {
		return nil
	}
	if err := syscall.Kill(s.pid, signal); err != nil {
		return err
	}
	if err := syscall.Kill(s.pid, syscall.SIGCONT); err != nil { // it may be frozen
		return err
	}
	for deadline := time.Now().Add(stopTimeout); !s.gone(); time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			err := fmt.Errorf("%s (process %d) didn't stop within %s of a %s", s.name, s.pid, stopTimeout, signal)
			return errors.Join(err, syscall.Kill(s.pid, syscall.SIGKILL))
		}
	}
	return nil
}

// kill ends the server as kill -9 does.
func (s *server) kill() error { return s.stop(syscall.SIGKILL) }

// signal sends the process a signal.
func (s *server) signal(signal syscall.Signal) error {
	if s.pid == 0 {
		return fmt.Errorf("%s isn't running", s.name)
	}
	return syscall.Kill(s.pid, signal)
}

func (s *server) remove() error { return os.RemoveAll(s.dir) }

// lastWords are the end of what the server has printed.
func (s *server) lastWords() []byte {
	const most = 2000
	b, err := os.ReadFile(s.log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(b[max(0, len(b)-most):])
}

// freePort is a loopback port that nobody listens on. It lies below the ports that systems give to outgoing
// connections, so that it is still free when a server that was stopped comes back to it.
func freePort() (int, error) {
	const low, high, tries = 10_240, 32_000, 100
	var err error
	for range tries {
		port := low + rand.IntN(high-low)
		var l net.Listener
		if l, err = net.Listen("tcp4", loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
