//go:build unix

package testkit

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Replica makes and starts a streaming replica, which ends with the test. It is read-only, and a little behind as real ones are;
// with Exec("SELECT pg_wal_replay_pause()") it is left behind until pg_wal_replay_resume.
func (p *PostgresServer) Replica(t TB) *PostgresServer {
	t.Helper()
	r, err := p.newReplica()
	or(t, "start a replica", err)
	r.t = t
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		or(t, "stop a replica", r.server.stop(syscall.SIGQUIT))
		or(t, "remove a replica's folder", r.server.remove())
	})
	return r
}

func (p *PostgresServer) newReplica() (*PostgresServer, error) {
	r := &PostgresServer{bin: p.bin, args: p.args}
	var err error
	if r.server, err = newServer("replica", p.server.owner); err != nil {
		return nil, err
	}
	r.server.quit = syscall.SIGQUIT
	r.server.ready = func() error { _, err := r.exec("SELECT 1"); return err }
	cmd := exec.Command(filepath.Join(p.bin, "pg_basebackup"), "--pgdata", r.data(), "--host=127.0.0.1", "--port="+strconv.Itoa(p.port),
		"--username=postgres", "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	cmd.Dir, cmd.Env = r.server.dir, serverEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.server.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("pg_basebackup: %w\n%s", err, out), r.server.remove())
	}
	if r.port, err = freePort(); err != nil {
		return nil, errors.Join(err, r.server.remove())
	}
	r.Addr = loopback(r.port)
	r.URL = "postgres://postgres@" + r.Addr + "/postgres?sslmode=disable"
	if err := r.start(); err != nil {
		return nil, errors.Join(err, r.server.remove())
	}
	return r, nil
}
