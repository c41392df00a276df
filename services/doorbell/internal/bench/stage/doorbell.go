//go:build linux

// Package stage sets up what is measured: Doorbell's services from this very binary on a Postgres and a Redis of their own,
// nginx with nchan, caches in front. Everything is a process of its own on loopback, in a temporary folder, and is ended
// by the id of its process when the stage is left, however that happens.
package stage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// Key may do everything.
const Key = "a-secret-of-the-bench"

// Doorbell is a Postgres, a Redis, and services on them, all with the default configuration but for a key and that all
// feeds are public.
type Doorbell struct {
	Postgres *testkit.PostgresServer
	Redis    *testkit.RedisServer

	t                    testkit.TB
	bin, config          string
	database, redis      string // flags
	Servers              []*Server
	APIs, Gateways, Rest []*Server
}

// Options are what a Doorbell has.
type Options struct {
	Gateways int
	// SignalInterval is that of all feeds; 0, the default: none.
	SignalInterval time.Duration
	// Config is put at the end of the configuration, as YAML.
	Config string
	// Postgres are settings for the database server.
	Postgres []string
	// Role, if not "", is the database's user that the API alone comes as, so that its queries can be told from others'.
	Role string
	// TLS: the gateways serve TLS.
	TLS bool
}

// NewDoorbell starts one, and returns when all of it is ready.
func NewDoorbell(t testkit.TB, o Options) (*Doorbell, error) {
	folder, err := Folder(t)
	if err != nil {
		return nil, err
	}
	d := &Doorbell{t: t, config: filepath.Join(folder, "doorbell.yaml")}
	if d.bin, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find the binary: %w", err)
	}
	text := "keys: [{name: bench, secret: " + Key + ", read: ['*'], write: ['*'], drop: ['*']}]\n" +
		"default: {public: true, signal_interval: " + o.SignalInterval.String() + "}\n" + o.Config
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	d.Postgres, d.Redis = testkit.NewPostgres(t, o.Postgres...), testkit.NewRedis(t)
	d.database, d.redis = "--database-url="+d.Postgres.URL, "--redis-url="+d.Redis.URL
	migrate := exec.Command(d.bin, "migrate", "up", d.database) //nolint:noctx,gosec // it ends by itself, and is this very binary
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("migrate: %w\n%s", err, out)
	}
	api := d.database
	if o.Role != "" {
		d.Postgres.Exec("CREATE ROLE " + o.Role + " SUPERUSER LOGIN")
		api = "--database-url=postgres://" + o.Role + "@" + d.Postgres.Addr + "/postgres?sslmode=disable"
	}
	if err := d.start(&d.APIs, "api", "--config="+d.config, api, d.redis); err != nil {
		return nil, err
	}
	if err := d.start(&d.Rest, "worker", "--config="+d.config, d.database, d.redis); err != nil {
		return nil, err
	}
	gateway := d.config
	if o.TLS {
		if err := Certificate(folder); err != nil {
			return nil, err
		}
		gateway = filepath.Join(folder, "gateway.yaml")
		text += fmt.Sprintf("tls: {cert: %[1]s/cert.pem, key: %[1]s/key.pem}\n", folder)
		if err := os.WriteFile(gateway, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	for range o.Gateways {
		if err := d.start(&d.Gateways, "gateway", "--config="+gateway, d.redis); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Doorbell) start(to *[]*Server, role string, args ...string) error {
	addr, err := FreeAddr()
	if err != nil {
		return err
	}
	args = append([]string{role, "--listen=" + addr}, args...)
	s, err := launch(d.t, role, addr, syscall.SIGKILL, d.bin, args...)
	if err != nil {
		return err
	}
	*to = append(*to, s)
	d.Servers = append(d.Servers, s)
	return s.waitReady("/readyz") // over TLS too, where that is spoken
}

// Explain adds to an error what the servers have said last.
func (d *Doorbell) Explain(err error) error {
	if err == nil {
		return nil
	}
	errs := []error{err}
	for _, s := range d.Servers {
		if words := s.LastWords(); words != "" {
			errs = append(errs, fmt.Errorf("the end of what the %s says: %s", s.Role, words))
		}
	}
	return errors.Join(errs...)
}

// Folder is a temporary folder that is removed with the stage.
func Folder(t testkit.TB) (string, error) {
	folder, err := os.MkdirTemp("", "doorbell-bench.")
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder, nil
}

// FreeAddr is a loopback address that nobody listens on. Its port lies below those that systems give to outgoing connections,
// of which a bench makes so many.
func FreeAddr() (string, error) {
	const low, high, tries = 10_240, 32_000, 100
	var err error
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", low+rand.IntN(high-low))
		var l net.Listener
		if l, err = net.Listen("tcp4", addr); err == nil { //nolint:noctx // it doesn't wait for anybody
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}
