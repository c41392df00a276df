//go:build unix

package testkit

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// PostgresServer is a private Postgres that listens on loopback alone, lets everybody in, and keeps its port for all of
// its life. It is durable as a real one is (fsync), and its databases collate as people do (ICU, American English),
// so that a query that forgot to ask for the order of bytes is found out. Methods fail the test when they fail, and are
// safe for concurrent use.
type PostgresServer struct {
	// Addr is host:port; URL is of its database "postgres", as its superuser.
	Addr, URL string

	t    TB
	port int
	bin  string // the folder of its programs
	args []string

	mu     sync.Mutex
	server *server
}

// NewPostgres makes and starts a Postgres that ends with the test. Each of args is a setting ("max_connections=10"), which
// beats the package's own.
func NewPostgres(t TB, args ...string) *PostgresServer {
	t.Helper()
	p, err := newPostgres(args)
	or(t, "start a Postgres", err)
	p.t = t
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.server.pid != 0 { // none of its processes can end while it is frozen
			or(t, "wake Postgres", p.signalAll(syscall.SIGCONT))
		}
		or(t, "stop Postgres", p.server.stop(syscall.SIGQUIT))
		or(t, "remove Postgres's folder", p.server.remove())
	})
	return p
}

// Schema is a test's own schema in the Postgres that a whole test process shares.
type Schema struct {
	// Addr is the server's host:port.
	Addr string
	// URL has the schema for its search path, so that tables without one in their name are made and found there.
	URL  string
	Name string
}

var (
	thePostgres = sync.OnceValues(func() (*PostgresServer, error) { return newPostgres(nil) })
	schemaLock  sync.Mutex
	schemas     int
)

// Postgres gives a schema of the test's own in the Postgres of this test process, which is started when it is first asked
// for. The schema is dropped with the test. Nobody may stop that server; see [NewPostgres] for one of one's own.
// Transaction ids, advisory locks and connections (200) are shared.
func Postgres(t TB) Schema {
	t.Helper()
	p, err := thePostgres()
	or(t, "start a Postgres", err)
	schemaLock.Lock()
	schemas++
	s := Schema{Addr: p.Addr, Name: fmt.Sprintf("test%d", schemas)}
	schemaLock.Unlock()
	_, err = p.exec("CREATE SCHEMA " + s.Name)
	or(t, "make a schema", err)
	t.Cleanup(func() {
		// With what still holds locks in it, so that a leak in one test doesn't hang another.
		_, err := p.exec("SET lock_timeout = '5s'; DROP SCHEMA " + s.Name + " CASCADE")
		or(t, "drop a schema", err)
	})
	u, err := url.Parse(p.URL)
	or(t, "read a URL", err)
	q := u.Query()
	q.Set("search_path", s.Name)
	u.RawQuery = q.Encode()
	s.URL = u.String()
	return s
}

func newPostgres(args []string) (*PostgresServer, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	owner, err := postgresOwner()
	if err != nil {
		return nil, err
	}
	const tries = 5 // the port may have been taken since
	for range tries {
		p := &PostgresServer{bin: bin, args: args}
		if p.server, err = newServer("postgres", owner); err != nil {
			return nil, err
		}
		p.server.quit = syscall.SIGQUIT // at once, and its shared memory is given back
		p.server.ready = func() error { _, err := p.exec("SELECT 1"); return err }
		if err = p.init(); err != nil {
			return nil, errors.Join(err, p.server.remove())
		}
		if p.port, err = freePort(); err != nil {
			return nil, errors.Join(err, p.server.remove())
		}
		p.Addr = loopback(p.port)
		p.URL = "postgres://postgres@" + p.Addr + "/postgres?sslmode=disable"
		if err = p.start(); err == nil {
			return p, nil
		}
		p.server.remove()
	}
	return nil, err
}

func (p *PostgresServer) data() string { return filepath.Join(p.server.dir, "data") }

// init makes the cluster. It is not synced to the disk, which takes a second: nobody needs it after a power cut.
func (p *PostgresServer) init() error {
	args := []string{
		"--pgdata", p.data(), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
	}
	if version, err := postgresVersion(p.bin); err != nil {
		return err
	} else if version >= 15 {
		args = append(args, "--locale-provider=icu", "--icu-locale=en-US")
	}
	cmd := exec.Command(filepath.Join(p.bin, "initdb"), args...)
	cmd.Dir, cmd.Env = p.server.dir, serverEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.server.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (p *PostgresServer) start() error {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(p.port), "unix_socket_directories=",
		"shared_buffers=16MB", "max_connections=200", "dynamic_shared_memory_type=mmap",
		"fsync=on", "synchronous_commit=on", "max_wal_size=256MB", "autovacuum_naptime=10s", "jit=off",
		"log_min_messages=warning", "log_line_prefix=%m [%p] ", "logging_collector=off",
	}
	args := []string{"-D", p.data()}
	for _, s := range append(settings, p.args...) {
		args = append(args, "-c", s)
	}
	return p.server.start(filepath.Join(p.bin, "postgres"), args...)
}

// Start starts it, if it isn't running, on the same port. After a Kill it recovers first.
func (p *PostgresServer) Start() {
	p.t.Helper()
	p.do("start", func() error {
		if p.server.pid != 0 {
			return nil
		}
		return p.start()
	})
}

// Stop ends it as `pg_ctl stop -m fast` does: sessions are ended with 57P01, and it is gone when Stop returns.
func (p *PostgresServer) Stop() {
	p.t.Helper()
	p.do("stop", func() error { return p.server.stop(syscall.SIGINT) })
}

// Kill ends it as a crash does: its processes go at once, sessions with them, nothing is flushed, and the next Start
// recovers from the log. (It is an immediate shutdown. After a kill -9 of the first process, sessions would go on
// committing until they next look.)
func (p *PostgresServer) Kill() {
	p.t.Helper()
	p.do("kill", func() error { return p.server.stop(syscall.SIGQUIT) })
}

// Restart is Stop and Start.
func (p *PostgresServer) Restart() {
	p.t.Helper()
	p.Stop()
	p.Start()
}

// Exec runs SQL as the superuser (psql's backslash commands work, too) and gives the rows as text: columns parted by "|",
// rows by line ends.
func (p *PostgresServer) Exec(sql string) string {
	p.t.Helper()
	out, err := p.exec(sql)
	or(p.t, "run SQL", err)
	return out
}

func (p *PostgresServer) do(what string, f func() error) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	or(p.t, what+" Postgres", f())
}

// exec runs SQL through psql, so that this package needs no driver.
func (p *PostgresServer) exec(sql string) (string, error) {
	cmd := exec.Command(filepath.Join(p.bin, "psql"), "--no-psqlrc", "--quiet", "--no-align", "--tuples-only",
		"--set=ON_ERROR_STOP=1", "--dbname="+p.URL+"&connect_timeout=5", "--command="+sql)
	cmd.Env = serverEnv()
	out, err := cmd.Output()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		err = fmt.Errorf("psql: %s", strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// postgresBin finds the newest Postgres of 14 or later: in $PG_BIN, or where Debian and Homebrew keep it, or on PATH.
var postgresBin = sync.OnceValues(func() (string, error) {
	candidates := []string{os.Getenv("PG_BIN")}
	if candidates[0] == "" {
		for _, pattern := range []string{
			"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
		} {
			found, err := filepath.Glob(pattern)
			if err != nil {
				return "", err
			}
			candidates = append(candidates, found...)
		}
		if onPath, err := exec.LookPath("postgres"); err == nil {
			candidates = append(candidates, filepath.Dir(onPath))
		}
	}
	const oldest = 14
	best, dir := 0, ""
	for _, c := range candidates {
		if _, err := os.Stat(filepath.Join(c, "initdb")); c == "" || err != nil {
			continue
		}
		if version, err := postgresVersion(c); err == nil && version >= oldest && version > best {
			best, dir = version, c
		}
	}
	if dir == "" {
		return "", missing("the PostgreSQL server, 14 or newer", "postgresql", "postgresql@17")
	}
	return dir, nil
})

var versionText = regexp.MustCompile(`PostgreSQL\)? (\d+)`)

func postgresVersion(bin string) (int, error) {
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	found := versionText.FindStringSubmatch(string(out))
	if found == nil {
		return 0, fmt.Errorf("postgres --version says %q", out)
	}
	return strconv.Atoi(found[1])
}

// postgresOwner is whom the server runs as when we are root, which it refuses to be; nil: as ourselves.
func postgresOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential means no change
	}
	u, err := user.Lookup("postgres") // Debian's
	if err != nil {
		u, err = user.Lookup("_postgres") // a Mac's
	}
	if err != nil {
		return nil, errors.New("please run the tests as another user than root: Postgres refuses, and there is no user postgres")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
