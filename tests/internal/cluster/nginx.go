//go:build unix

package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// Nginx is an nginx of the test's own, with the shipped configuration but for its addresses.
type Nginx struct {
	addr   string
	folder string
	tb     testing.TB
}

// around is what the shipped file is included from: one process in the foreground, with all of its files in one folder.
const around = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
	access_log %[1]s/access.log;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[1]s/doorbell.conf;
}
`

// startNginx starts it in front of two APIs and two gateways, and returns when it serves.
func startNginx(tb testing.TB, apis, gateways []*Node) *Nginx {
	tb.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		tb.Fatal(err)
	}
	n := &Nginx{addr: addr, folder: tb.TempDir(), tb: tb}
	shipped, err := os.ReadFile(ShippedNginx())
	if err != nil {
		tb.Fatal(err)
	}
	addresses := map[string]string{
		"server api-1:8080 ": "server " + apis[0].Addr + " ", "server api-2:8080 ": "server " + apis[1].Addr + " ",
		"server gateway-1:8080 ": "server " + gateways[0].Addr + " ", "server gateway-2:8080 ": "server " + gateways[1].Addr + " ",
		"listen 80;": "listen " + addr + ";",
	}
	text := string(shipped)
	for from, to := range addresses {
		if !strings.Contains(text, from) {
			tb.Fatalf("the shipped nginx configuration has no %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	for name, content := range map[string]string{"doorbell.conf": text, "nginx.conf": fmt.Sprintf(around, n.folder)} {
		if err := os.WriteFile(filepath.Join(n.folder, name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	bin, err := nginxBinary()
	if err != nil {
		tb.Fatal(err)
	}
	run, err := process.Start(bin, []string{"-p", n.folder, "-c", filepath.Join(n.folder, "nginx.conf")}, process.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		run.Kill()
		if tb.Failed() {
			tb.Logf("standard error of nginx:\n%s", run.Err)
		}
	})
	doorbelltest.Eventually(tb, "nginx serves", func() bool {
		if !run.Running() {
			tb.Fatalf("nginx ended with %d:\n%s", run.ExitCode(), run.Err)
		}
		status, _, err := Get(n.URL() + "/")
		return err == nil && status == 200
	})
	return n
}

// URL is where it is, without a slash at the end.
func (n *Nginx) URL() string { return "http://" + n.addr }

// Addr is its host:port.
func (n *Nginx) Addr() string { return n.addr }

// ShippedNginx is the path of the configuration that is shipped.
func ShippedNginx() string { return filepath.Join(Deployments(), "nginx", "doorbell.conf") }

// Deployments is the folder of what is shipped for running Doorbell.
func Deployments() string {
	_, here, _, _ := runtime.Caller(0) //nolint:dogsled // Caller has more to say
	return filepath.Join(filepath.Dir(here), "..", "..", "..", "deployments")
}

// nginxBinary finds nginx where scripts/setup.sh looks.
func nginxBinary() (string, error) {
	for _, name := range []string{os.Getenv("NGINX"), "/usr/sbin/nginx", "nginx"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no nginx here; run scripts/setup.sh nginx, or set NGINX to its path")
}
