// Package edge runs caches in front of Doorbell with the configurations that are shipped (deployments/), but for addresses
// and folders: nginx and Varnish, as they are packaged.
//
//	e, err := edge.Nginx(folder, edge.Origin{APIs: apis, Gateways: gateways})
//	… e.URL() …
//	e.Stop()
//
// It needs no testing.TB, so that benchmarks can use it as well.
package edge

import (
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit/caches"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// startWithin is how long a cache may take until it serves. Varnish compiles its configuration with a C compiler.
const startWithin = time.Minute

// Origin is what a cache is in front of: host:port of each server, two of each kind, or one that counts twice.
type Origin struct {
	APIs, Gateways []string
}

// Edge is a running cache.
type Edge struct {
	// Name is "nginx" or "Varnish".
	Name string
	// Log is what it has said on standard error.
	Log *process.Output

	addr string
	run  *process.Process
}

// URL is where it is, without a slash at the end.
func (e *Edge) URL() string { return "http://" + e.addr }

// Addr is its host:port.
func (e *Edge) Addr() string { return e.addr }

// Stop ends it, by force if it doesn't hear.
func (e *Edge) Stop() {
	if _, err := e.run.Stop(5 * time.Second); err != nil {
		e.run.Kill()
	}
}

// serves waits until the cache answers, be it that it has nobody to ask.
func (e *Edge) serves() error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(startWithin); ; time.Sleep(20 * time.Millisecond) {
		res, err := client.Get(e.URL() + "/readyz") //nolint:noctx // it has a timeout
		if err == nil {
			return res.Body.Close()
		}
		if !e.run.Running() {
			return fmt.Errorf("%s ended with %d:\n%s%s", e.Name, e.run.ExitCode(), e.run.Out, e.Log)
		}
		if time.Now().After(deadline) {
			e.Stop()
			return fmt.Errorf("%s doesn't serve within %s:\n%s%s", e.Name, startWithin, e.run.Out, e.Log)
		}
	}
}

// Nginx starts nginx with deployments/nginx/doorbell-cache.conf and returns when it serves. Its files go into folder.
func Nginx(folder string, o Origin) (*Edge, error) { return start("nginx", caches.Nginx, folder, o) }

// Varnish starts varnishd with deployments/varnish/doorbell.vcl and returns when it serves. Its files go into folder, whose path
// has to be short: Varnish makes sockets below it.
func Varnish(folder string, o Origin) (*Edge, error) {
	return start("Varnish", caches.Varnish, folder, o)
}

func start(name string, prepare func(caches.Place) (caches.Command, error), folder string, o Origin) (*Edge, error) {
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	inner, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	two := func(addrs []string) [2]string { return [2]string{addrs[0], addrs[len(addrs)-1]} }
	c, err := prepare(caches.Place{
		Deployments: Shipped(), Folder: folder, Addr: addr, Inner: inner, APIs: two(o.APIs), Gateways: two(o.Gateways),
	})
	if err != nil {
		return nil, err
	}
	run, err := process.Start(c.Program, c.Args, process.Options{})
	if err != nil {
		return nil, err
	}
	e := &Edge{Name: name, Log: run.Err, addr: addr, run: run}
	return e, e.serves()
}

// Shipped is the path of a file that is shipped: Shipped("nginx", "doorbell-cache.conf").
func Shipped(path ...string) string {
	_, here, _, _ := runtime.Caller(0) //nolint:dogsled // Caller has more to say
	return filepath.Join(append([]string{filepath.Dir(here), "..", "..", "..", "deployments"}, path...)...)
}
