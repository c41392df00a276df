//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
	"github.com/doorbell-sync/doorbell/pkg/testkit"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// Key is the key that may do everything. Behind nginx, which is on loopback too, nobody may write without one.
const Key = "a-secret-of-the-tests"

// DrainWait is how long a node goes on serving after it was asked to stop. It is longer than nginx passes over the one that
// has been stopped before (its fail_timeout, in whole seconds).
const DrainWait = 2500 * time.Millisecond

// Options shape a cluster. The zero Options are two APIs, two gateways, a worker, and nginx.
type Options struct {
	// Workers is how many there are; 0: one, negative: none.
	Workers int
	// RedisAddr is where a role's processes find Redis, if not directly; it is called once for each role.
	RedisAddr func(role string, r *testkit.RedisServer) string
	// Config is put at the end of the configuration, as YAML.
	Config string
	// APIs, if not empty, is what each API is started with in the place of the built binary, "" for that.
	APIs []Binary
}

// Binary is another build of the command, with its own environment.
type Binary struct {
	Path string
	Env  []string
}

// Cluster is a running Doorbell.
type Cluster struct {
	Postgres *testkit.PostgresServer
	Redis    *testkit.RedisServer
	APIs     []*Node
	Gateways []*Node
	Workers  []*Node
	Nginx    *Nginx

	tb testing.TB
}

// Start starts everything, and returns when all of it is ready.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := &Cluster{Postgres: testkit.NewPostgres(tb), Redis: testkit.NewRedis(tb), tb: tb}
	config := doorbelltest.File(tb, "doorbell.yaml", fmt.Sprintf(
		"drain_wait: %s\ngateway: {drain_window: 1s}\ntrusted_proxies: [127.0.0.1]\n"+
			"keys:\n  - {name: tests, secret: %s, read: ['*'], write: ['*'], drop: ['*']}\n"+
			"default: {public: true}\n%s", DrainWait, Key, o.Config))
	database := "--database-url=" + c.Postgres.URL
	redis := map[string]string{}
	for _, role := range []string{"api", "gateway", "worker"} {
		addr := c.Redis.Addr
		if o.RedisAddr != nil {
			addr = o.RedisAddr(role, c.Redis)
		}
		redis[role] = "--redis-url=redis://" + addr + "/0"
	}
	if r := (doorbelltest.Shell{}).Run(tb, "migrate", "up", database); r.Code != 0 {
		tb.Fatalf("migrate up: %d\n%s%s", r.Code, r.Out, r.Err)
	}

	apis := o.APIs
	if len(apis) == 0 {
		apis = make([]Binary, 2)
	}
	for _, b := range apis {
		c.APIs = append(c.APIs, c.node("api", b, config, database, redis["api"]))
	}
	for range 2 {
		c.Gateways = append(c.Gateways, c.node("gateway", Binary{}, config, redis["gateway"]))
	}
	workers := o.Workers
	if workers == 0 {
		workers = 1
	}
	for range max(workers, 0) {
		c.Workers = append(c.Workers, c.node("worker", Binary{}, config, database, redis["worker"]))
	}
	for _, n := range c.Nodes() {
		n.Start()
	}
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	c.Nginx = startNginx(tb, c.APIs, c.Gateways)
	return c
}

func (c *Cluster) node(role string, b Binary, config string, args ...string) *Node {
	c.tb.Helper()
	if b.Path == "" {
		b.Path = doorbelltest.Binary(c.tb)
	}
	args = append([]string{role, "--config", config}, args...)
	return newNode(c.tb, role, b, args)
}

// Nodes are all of Doorbell's own processes.
func (c *Cluster) Nodes() []*Node { return slices.Concat(c.APIs, c.Gateways, c.Workers) }

// Client is one that goes through nginx, and may do everything.
func (c *Cluster) Client(opts ...doorbell.Option) *doorbell.Client {
	c.tb.Helper()
	return client(c.tb, c.Nginx.URL(), opts)
}

func client(tb testing.TB, url string, opts []doorbell.Option) *doorbell.Client {
	tb.Helper()
	opts = append([]doorbell.Option{doorbell.WithKey(Key), doorbell.WithHTTPClient(doorbelltest.HTTP(tb))}, opts...)
	made, err := doorbell.New(url, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// Get gives the status and body of an answer.
func Get(url string) (status int, body string, err error) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(url) //nolint:noctx // it has a timeout
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, strings.TrimSpace(string(text)), errors.Join(err, res.Body.Close())
}
