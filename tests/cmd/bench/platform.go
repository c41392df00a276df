//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// startWithin is how long a service may take until it is ready, on a machine that is busy.
const startWithin = 30 * time.Second

// platformKey is the key that may write: the services, unlike `doorbell dev`, let nobody write without one.
const platformKey = "a-secret-of-the-bench"

// platform is a Doorbell of separate services, on a Postgres and a Redis of its own. All of it is on loopback.
type platform struct {
	postgres             *testkit.PostgresServer
	redis                *testkit.RedisServer
	api, gateway, worker *service
	folder               string
}

// withPlatform starts a platform, calls f, and ends all of it. The SQL, if any, is run on the migrated database before
// the first service is started.
func withPlatform(bin, sql string, f func(p *platform) error) error {
	return testkit.Run(func(t testkit.TB) error {
		p, err := startPlatform(t, bin, sql)
		if err == nil {
			err = f(p)
		}
		if err != nil && p != nil {
			err = errors.Join(append([]error{err}, p.lastWords()...)...)
		}
		return err
	})
}

func startPlatform(h testkit.TB, bin, sql string) (*platform, error) {
	folder, err := os.MkdirTemp("", "doorbell-bench.")
	if err != nil {
		return nil, err
	}
	h.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := &platform{postgres: testkit.NewPostgres(h), redis: testkit.NewRedis(h), folder: folder}
	config := filepath.Join(folder, "doorbell.yaml")
	if err := os.WriteFile(config, []byte(
		"keys: [{name: bench, secret: "+platformKey+", write: ['*']}]\ndefault: {public: true}\n"), 0o600); err != nil {
		return p, err
	}
	database, redis := "--database-url="+p.postgres.URL, "--redis-url="+p.redis.URL
	migrate, err := process.Start(bin, []string{"migrate", "up", database}, process.Options{})
	if err != nil {
		return p, err
	}
	if code := migrate.ExitCode(); code != 0 {
		return p, fmt.Errorf("migrate up: %d\n%s%s", code, migrate.Out, migrate.Err)
	}
	if sql != "" {
		p.postgres.Exec(sql)
	}
	for _, s := range []struct {
		at   **service
		args []string
	}{
		{&p.api, []string{"api", database, redis}},
		{&p.gateway, []string{"gateway", redis}},
		{&p.worker, []string{"worker", database, redis}},
	} {
		if *s.at, err = startService(h, bin, append(s.args, "--config="+config)...); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *platform) lastWords() []error {
	var all []error
	for _, s := range []*service{p.api, p.gateway, p.worker} {
		if s != nil {
			log := s.Err.String()
			all = append(all, fmt.Errorf("the end of the %s's log:\n%s", s.role, log[max(0, len(log)-2000):]))
		}
	}
	return all
}

// service is one process of the binary.
type service struct {
	*process.Process

	role, addr string
	pid        int
}

func (s *service) url() string { return "http://" + s.addr }

func startService(h testkit.TB, bin string, args ...string) (*service, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // it takes no time
	if err != nil {
		return nil, err
	}
	s := &service{role: args[0], addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
	// The shell says its id and then becomes the service: that is how we know whose memory to read.
	args = append([]string{"-c", `echo $$; exec "$@"`, "sh", bin}, append(args, "--listen="+s.addr)...)
	if s.Process, err = process.Start("/bin/sh", args, process.Options{}); err != nil {
		return nil, err
	}
	h.Cleanup(s.Kill)
	for deadline := time.Now().Add(startWithin); ; time.Sleep(10 * time.Millisecond) {
		if !s.Running() {
			return s, fmt.Errorf("the %s ended with %d: %s", s.role, s.ExitCode(), s.Err)
		}
		if s.ready() {
			break
		}
		if time.Now().After(deadline) {
			return s, fmt.Errorf("the %s isn't ready after %s: %s", s.role, startWithin, s.Err)
		}
	}
	if lines := s.Out.Lines(); len(lines) > 0 {
		s.pid, err = strconv.Atoi(lines[0])
	}
	return s, err
}

func (s *service) ready() bool {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(s.url() + "/readyz") //nolint:noctx // it has a timeout
	if err != nil {
		return false
	}
	return errors.Join(res.Body.Close()) == nil && res.StatusCode == http.StatusOK
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is how much memory the process has, as text: only Linux tells.
func (s *service) resident() string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	found := residentLine.FindSubmatch(status)
	if err != nil || found == nil {
		return "unknown"
	}
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%d MiB", kib>>10)
}

// baselines are what a write and its signal rest on.
type baselines struct{ synced, ping []time.Duration }

// baselines measures the disk that Postgres is on, and bare round trips to Redis.
func (p *platform) baselines() (b baselines, err error) {
	if b.synced, err = measureSync(p.folder, 200); err != nil {
		return b, fmt.Errorf("measure the disk: %w", err)
	}
	conn, err := net.DialTimeout("tcp4", p.redis.Addr, patience) //nolint:noctx // it has a timeout
	if err != nil {
		return b, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return b, err
	}
	answers := bufio.NewReader(conn)
	for range 500 {
		began := time.Now()
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			return b, err
		}
		answer, err := answers.ReadString('\n')
		if err != nil || !strings.HasPrefix(answer, "+PONG") {
			return b, fmt.Errorf("redis answered PING with %q, %w", answer, err)
		}
		b.ping = append(b.ping, time.Since(began))
	}
	return b, nil
}

func (b baselines) rows(out io.Writer) {
	fmt.Fprintln(out, "  for comparison, in the same run:")
	row(out, "4 KiB appended and "+syncName, b.synced)
	row(out, "PING of Redis, there and back", b.ping)
}
