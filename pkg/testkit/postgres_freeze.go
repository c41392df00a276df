//go:build unix

package testkit

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// Freeze stops all of its processes with SIGSTOP: connections stay open, the kernel takes new ones, and nobody ever answers.
func (p *PostgresServer) Freeze() {
	p.t.Helper()
	// The first one first: then there are no new ones.
	p.do("freeze", func() error { return p.signalAll(syscall.SIGSTOP) })
}

// Thaw has it go on.
func (p *PostgresServer) Thaw() {
	p.t.Helper()
	p.do("thaw", func() error { return p.signalAll(syscall.SIGCONT) })
}

// signalAll signals its first process and then the others, each of which is a child of that, with a session of its own.
func (p *PostgresServer) signalAll(signal syscall.Signal) error {
	if err := p.server.signal(signal); err != nil {
		return err
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "ppid=").Output()
	if err != nil {
		return fmt.Errorf("look for its processes: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err != nil {
			return fmt.Errorf("ps says %q: %w", line, err)
		}
		if parent != p.server.pid {
			continue
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}
