//go:build linux

package stage

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/pkg/testkit/caches"
)

// nchanModule is where Debian's libnginx-mod-nchan is; NCHAN names another place.
const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// nchanConfig is an nginx that does nothing but nchan, as its manual has it: subscribers by WebSocket or EventSource, a
// publisher by POST, pings as often as Doorbell's, all else by default.
const nchanConfig = `load_module %[1]s;
daemon off;
worker_processes %[2]d;
pid %[3]s/nginx.pid;
error_log stderr warn;
events { worker_connections 19000; }
http {
	access_log off;
	client_body_temp_path %[3]s/body;
	proxy_temp_path %[3]s/proxy;
	fastcgi_temp_path %[3]s/fastcgi;
	uwsgi_temp_path %[3]s/uwsgi;
	scgi_temp_path %[3]s/scgi;
	server {
		listen %[4]s backlog=4096;
		listen %[5]s ssl backlog=4096;
		ssl_certificate %[3]s/cert.pem;
		ssl_certificate_key %[3]s/key.pem;
		location = /healthz { return 200; }
		location ~ ^/pub/(.+)$ {
			nchan_publisher;
			nchan_channel_id $1;
		}
		location ~ ^/sub/(.+)$ {
			nchan_subscriber websocket eventsource;
			nchan_channel_id $1;
			nchan_subscriber_first_message newest;
			nchan_websocket_ping_interval 25;
			nchan_eventsource_ping_interval 25;
		}
	}
}
`

// Nchan is nginx with nchan.
type Nchan struct {
	*Server

	// TLSAddr is its host:port for TLS.
	TLSAddr string
	Workers int
}

// NewNchan starts one with so many worker processes, and returns when it serves.
func NewNchan(t testkit.TB, workers int) (*Nchan, error) {
	nginx, err := caches.FindNginx()
	if err != nil {
		return nil, err
	}
	module := nchanModule
	if path := os.Getenv("NCHAN"); path != "" {
		module = path
	}
	if _, err := os.Stat(module); err != nil { //nolint:gosec // the operator names it
		return nil, fmt.Errorf("there is no nchan: %w; run scripts/setup.sh nchan, or set NCHAN to the module's path", err)
	}
	folder, err := Folder(t)
	if err != nil {
		return nil, err
	}
	if err := Certificate(folder); err != nil {
		return nil, err
	}
	n := &Nchan{Workers: workers}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	if n.TLSAddr, err = FreeAddr(); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "nginx.conf")
	text := fmt.Sprintf(nchanConfig, module, workers, folder, addr, n.TLSAddr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil { //nolint:gosec // a folder of our own
		return nil, err
	}
	// SIGTERM: a master that is killed outright would leave its workers behind.
	n.Server, err = launch(t, "nchan", addr, syscall.SIGTERM, nginx, "-p", folder, "-c", file)
	if err != nil {
		return nil, err
	}
	return n, n.waitReady("/healthz")
}

// PIDs are the master's and the workers'.
func (n *Nchan) PIDs() ([]int, error) {
	workers, err := children(n.PID)
	return append(workers, n.PID), err
}

// Version is what a program says of itself to its option for that.
func Version(program, option string) string {
	out, err := exec.Command(program, option).CombinedOutput() //nolint:noctx // it ends by itself
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// waitPort waits until somebody listens.
func (s *Server) waitPort() error {
	for deadline := time.Now().Add(startWithin); ; time.Sleep(20 * time.Millisecond) {
		if !s.Running() {
			return fmt.Errorf("the %s has ended: %s", s.Role, s.log)
		}
		conn, err := net.DialTimeout("tcp4", s.Addr, time.Second) //nolint:noctx // it has a timeout
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("the %s isn't ready after %s: %s", s.Role, startWithin, s.log), err)
		}
	}
}
