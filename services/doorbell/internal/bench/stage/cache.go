//go:build linux

package stage

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// Origin stands between a cache and an API, and counts what comes through.
type Origin struct {
	Addr string

	reads atomic.Int64
}

// NewOrigin starts one, at an address of its own choice if that is "".
func NewOrigin(t testkit.TB, api *Server, addr string) (*Origin, error) {
	if addr == "" {
		var err error
		if addr, err = FreeAddr(); err != nil {
			return nil, err
		}
	}
	target, err := url.Parse(api.URL())
	if err != nil {
		return nil, err
	}
	o := &Origin{Addr: addr}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		// A client that goes is the cache's business; what the cache is told then, it counts.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/feeds/") {
			o.reads.Add(1)
		}
		proxy.ServeHTTP(w, r)
	})}
	listener, err := net.Listen("tcp4", addr)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends when it is closed
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return o, nil
}

// Reads is how many requests for feeds have come so far.
func (o *Origin) Reads() int { return int(o.reads.Load()) }

// Caches names those that NewCache can start.
func Caches() []string { return []string{"nginx", "varnish"} }

// NewCache starts a cache in front of an origin, with the file that is shipped in the folder deployments for it, and returns when it
// serves. Sockets are not its business here.
func NewCache(t testkit.TB, name, deployments, origin, gateway string) (*Server, error) {
	folder, err := Folder(t)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // both drop root's rights and read their files there
		return nil, err
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	switch name {
	case "nginx":
		return newNginxCache(t, folder, deployments, addr, origin, gateway)
	case "varnish":
		return newVarnish(t, folder, deployments, addr, origin, gateway)
	}
	return nil, fmt.Errorf("the cache %q is not known; allowed: %s", name, strings.Join(Caches(), ", "))
}

// around is what nginx's shipped file is included from.
const around = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[1]s/doorbell-cache.conf;
}
`

func newNginxCache(t testkit.TB, folder, deployments, addr, origin, gateway string) (*Server, error) {
	program, err := Nginx()
	if err != nil {
		return nil, err
	}
	inner, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	err = adapt(filepath.Join(deployments, "nginx", "doorbell-cache.conf"), filepath.Join(folder, "doorbell-cache.conf"),
		"server api-1:8080 ", "server "+origin+" ", "server api-2:8080 ", "server "+origin+" ",
		"server gateway-1:8080 ", "server "+gateway+" ", "server gateway-2:8080 ", "server "+gateway+" ",
		"127.0.0.1:8079", inner, "listen 80;", "listen "+addr+" backlog=4096;", "/var/cache/nginx/", folder+"/cache-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, around, folder), 0o600); err != nil {
		return nil, err
	}
	s, err := launch(t, "nginx", addr, syscall.SIGKILL, program, "-p", folder, "-c", file)
	if err != nil {
		return nil, err
	}
	return s, s.waitPort()
}

func newVarnish(t testkit.TB, folder, deployments, addr, origin, gateway string) (*Server, error) {
	program, err := find("varnish", os.Getenv("VARNISHD"), "/usr/sbin/varnishd", "varnishd")
	if err != nil {
		return nil, err
	}
	var words []string
	for name, at := range map[string]string{"api-1": origin, "api-2": origin, "gateway-1": gateway, "gateway-2": gateway} {
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			return nil, err
		}
		words = append(words, `.host = "`+name+`"; .port = "8080";`, fmt.Sprintf(".host = %q; .port = %q;", host, port))
	}
	vcl := filepath.Join(folder, "doorbell.vcl")
	if err := adapt(filepath.Join(deployments, "varnish", "doorbell.vcl"), vcl, words...); err != nil {
		return nil, err
	}
	// SIGTERM: a manager that is killed outright may leave its child behind.
	s, err := launch(t, "varnish", addr, syscall.SIGTERM, program, "-F", "-n", filepath.Join(folder, "work"), "-a", addr, "-f", vcl,
		"-s", "malloc,256m", "-T", "none", "-p", "thread_pool_min=200", "-p", "thread_pools=2")
	if err != nil {
		return nil, err
	}
	return s, s.waitPort()
}

// adapt copies a file with words replaced; each has to be there.
func adapt(from, to string, words ...string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("the configuration that is shipped (--deployments says where): %w", err)
	}
	text := string(b)
	for pair := range slices.Chunk(words, 2) {
		if !strings.Contains(text, pair[0]) {
			return fmt.Errorf("%s has no %q", from, pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return os.WriteFile(to, []byte(text), 0o644) //nolint:gosec // no secret
}
