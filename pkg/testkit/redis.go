//go:build unix

package testkit

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// RedisServer is a private Redis without a password and, unless its arguments say otherwise, without persistence. It
// keeps its port for all of its life, whatever happens to it. Methods fail the test when they fail, and are safe for
// concurrent use.
type RedisServer struct {
	// Addr is host:port; URL is redis://host:port/0.
	Addr, URL string

	t    TB
	port int
	args []string

	mu     sync.Mutex
	server *server
}

// NewRedis starts a Redis that ends with the test. args are further arguments for redis-server ("--appendonly", "yes"), which
// beat the package's own.
func NewRedis(t TB, args ...string) *RedisServer {
	t.Helper()
	r, err := newRedis(args)
	or(t, "start a Redis", err)
	r.t = t
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		or(t, "stop Redis", r.server.stop(syscall.SIGTERM))
		or(t, "remove Redis's folder", r.server.remove())
	})
	return r
}

// SharedRedis is a Redis that a whole test process shares, and a test's own place in it.
type SharedRedis struct {
	Addr, URL string
	// Prefix is of this test alone: begin every key and channel with it.
	Prefix string
}

var (
	theRedis   = sync.OnceValues(func() (*RedisServer, error) { return newRedis(nil) })
	namespaces atomic.Int64
)

// Redis gives a place in the Redis of this test process, which is started when it is first asked for. Pub/sub knows no
// databases, so the place is a prefix. Nobody may stop or flush that server; see [NewRedis] for one of one's own.
func Redis(t TB) SharedRedis {
	t.Helper()
	r, err := theRedis()
	or(t, "start a Redis", err)
	return SharedRedis{Addr: r.Addr, URL: r.URL, Prefix: fmt.Sprintf("test%d:", namespaces.Add(1))}
}

func newRedis(args []string) (*RedisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, missing("redis-server 7 or newer", "redis-server", "redis")
	}
	const tries = 5 // the port may have been taken since
	var err error
	for range tries {
		r := &RedisServer{args: args}
		if r.port, err = freePort(); err != nil {
			return nil, err
		}
		r.Addr = loopback(r.port)
		r.URL = "redis://" + r.Addr + "/0"
		if r.server, err = newServer("redis", nil); err != nil {
			return nil, err
		}
		r.server.ready = func() error { return r.ask("PING") }
		if err = r.start(); err == nil {
			return r, nil
		}
		r.server.remove()
	}
	return nil, err
}

func (r *RedisServer) start() error {
	args := append([]string{
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", r.server.dir, "--daemonize", "no", "--databases", "16",
	}, r.args...)
	return r.server.start("redis-server", args...)
}

// Start starts it, if it isn't running, on the same port: without persistence it is empty, and another run of Redis.
func (r *RedisServer) Start() {
	r.t.Helper()
	r.do("start", func() error {
		if r.server.pid != 0 {
			return nil
		}
		return r.start()
	})
}

// Stop ends it in an orderly way: connections are closed, new ones refused.
func (r *RedisServer) Stop() {
	r.t.Helper()
	r.do("stop", func() error { return r.server.stop(syscall.SIGTERM) })
}

// Kill ends it as kill -9 does.
func (r *RedisServer) Kill() {
	r.t.Helper()
	r.do("kill", r.server.kill)
}

// Restart is Stop and Start.
func (r *RedisServer) Restart() {
	r.t.Helper()
	r.Stop()
	r.Start()
}

// Replace kills it and starts an empty one at the same port, whatever it has persisted.
func (r *RedisServer) Replace() {
	r.t.Helper()
	r.do("replace", func() error {
		if err := r.server.kill(); err != nil {
			return err
		}
		if err := r.server.remove(); err != nil {
			return err
		}
		old := r.server
		var err error
		if r.server, err = newServer("redis", nil); err != nil {
			return err
		}
		r.server.ready = old.ready
		return r.start()
	})
}

// Freeze makes it hang: connections stay open and even new ones are accepted, by the system, but nothing answers.
func (r *RedisServer) Freeze() {
	r.t.Helper()
	r.do("freeze", func() error { return r.server.signal(syscall.SIGSTOP) })
}

// Thaw undoes Freeze.
func (r *RedisServer) Thaw() {
	r.t.Helper()
	r.do("thaw", func() error { return r.server.signal(syscall.SIGCONT) })
}

// Flush empties all of its databases.
func (r *RedisServer) Flush() {
	r.t.Helper()
	r.do("flush", func() error { return r.ask("FLUSHALL") })
}

func (r *RedisServer) do(what string, f func() error) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	or(r.t, what+" Redis", f())
}

// ask sends an inline command and wants an answer that isn't an error.
func (r *RedisServer) ask(command string) error {
	const patience = 5 * time.Second
	conn, err := net.DialTimeout("tcp4", r.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, "+") {
		return fmt.Errorf("%s: %s", command, strings.TrimSpace(answer))
	}
	return nil
}
