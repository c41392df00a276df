//go:build unix

package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// PostgresCopy is a backup: the files of a Postgres as they were at some moment. It is removed with the server.
type PostgresCopy struct{ dir string }

// Copy stops the server, copies its files, and starts it again.
func (p *PostgresServer) Copy() PostgresCopy {
	p.t.Helper()
	c := PostgresCopy{filepath.Join(p.server.dir, fmt.Sprintf("copy%d", time.Now().UnixNano()))}
	p.do("copy", func() error {
		if err := p.server.stop(syscall.SIGINT); err != nil {
			return err
		}
		return errors.Join(copyFiles(p.data(), c.dir), p.start())
	})
	return c
}

// PutBack kills the server and starts it with the files of the copy: all that it has committed since then is lost, and
// nothing in it tells that. With a timeline of its own it is what a restore to some moment gives, or the promotion of a
// replica that had come so far: another history.
func (p *PostgresServer) PutBack(c PostgresCopy, timeline bool) {
	p.t.Helper()
	p.do("restore", func() error {
		if err := p.server.stop(syscall.SIGQUIT); err != nil {
			return err
		}
		if err := os.RemoveAll(p.data()); err != nil {
			return err
		}
		if err := copyFiles(c.dir, p.data()); err != nil {
			return err
		}
		if timeline {
			if err := p.recoverFirst(); err != nil {
				return err
			}
		}
		if err := p.start(); err != nil {
			return err
		}
		for deadline := time.Now().Add(startTimeout); ; time.Sleep(pollEvery) {
			recovering, err := p.exec("SELECT pg_is_in_recovery()")
			if err != nil || recovering == "f" {
				return err
			}
			if time.Now().After(deadline) {
				return errors.New("it recovers for ever")
			}
		}
	})
}

// recoverFirst has the next start replay a log that ends at once, which begins a timeline.
func (p *PostgresServer) recoverFirst() error {
	settings, err := os.OpenFile(filepath.Join(p.data(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = settings.WriteString("restore_command = 'false'\n")
	return errors.Join(err, settings.Close(), os.WriteFile(filepath.Join(p.data(), "recovery.signal"), nil, 0o644))
}

// copyFiles keeps owners and modes.
func copyFiles(from, to string) error {
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}
