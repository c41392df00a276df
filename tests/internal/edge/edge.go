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
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// startWithin is how long a cache may take until it serves. Varnish compiles its configuration with a C compiler.
const startWithin = time.Minute

// Origin is what a cache is in front of: host:port of each server, two of each kind, or one that counts twice.
type Origin struct {
	APIs, Gateways []string
}

func (o Origin) pairs() (apis, gateways [2]string) {
	two := func(addrs []string) [2]string { return [2]string{addrs[0], addrs[len(addrs)-1]} }
	return two(o.APIs), two(o.Gateways)
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

// Shipped is the path of a file that is shipped: Shipped("nginx", "doorbell-cache.conf").
func Shipped(path ...string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(here), "..", "..", "..", "deployments"}, path...)...)
}

// adapted is a shipped file with other words in it, each of which has to be there.
func adapted(path string, words [][2]string) (string, error) {
	shipped, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := string(shipped)
	for _, w := range words {
		if !strings.Contains(text, w[0]) {
			return "", fmt.Errorf("%s has no %q", path, w[0])
		}
		text = strings.ReplaceAll(text, w[0], w[1])
	}
	return text, nil
}

// find finds a program where scripts/setup.sh looks.
func find(variable, path, name string) (string, error) {
	for _, candidate := range []string{os.Getenv(variable), path, name} {
		if found, err := exec.LookPath(candidate); candidate != "" && err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("there is no %s here; run scripts/setup.sh, or set %s to its path", name, variable)
}
