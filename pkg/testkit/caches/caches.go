// Package caches says how nginx and Varnish are started in front of Doorbell, with the configurations that are shipped
// (deployments/), but for addresses and folders. Starting and ending them is the caller's, who may want to measure them.
package caches

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Place is where a cache stands; addresses are host:port.
type Place struct {
	// Deployments is the folder of what is shipped.
	Deployments string
	// Folder takes the cache's files. Its path has to be short: Varnish makes sockets below it.
	Folder string
	// Addr is served on. Inner is an address for nginx's own use; Varnish needs none.
	Addr, Inner string
	// APIs and Gateways are what it is in front of: two of each.
	APIs, Gateways [2]string
}

// Command is a program that runs in the foreground.
type Command struct {
	Program string
	Args    []string
}

// around is what nginx's shipped file is included from: one process, with all of its files in one folder.
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

// Nginx writes the files of an nginx with nginx/doorbell-cache.conf.
func Nginx(p Place) (Command, error) {
	program, err := FindNginx()
	if err != nil {
		return Command{}, err
	}
	err = p.adapt([]string{"nginx", "doorbell-cache.conf"},
		"server api-1:8080 ", "server "+p.APIs[0]+" ", "server api-2:8080 ", "server "+p.APIs[1]+" ",
		"server gateway-1:8080 ", "server "+p.Gateways[0]+" ", "server gateway-2:8080 ", "server "+p.Gateways[1]+" ",
		"listen 127.0.0.1:8079 ", "listen "+p.Inner+" ", "server 127.0.0.1:8079 ", "server "+p.Inner+" ",
		"listen 80;", "listen "+p.Addr+" backlog=4096;", "/var/cache/nginx/", p.Folder+"/cache-")
	if err != nil {
		return Command{}, err
	}
	file := filepath.Join(p.Folder, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, around, p.Folder), 0o600); err != nil {
		return Command{}, err
	}
	return Command{program, []string{"-p", p.Folder, "-c", file}}, nil
}

// Varnish writes the files of a varnishd with varnish/doorbell.vcl. It is ended with SIGTERM: a manager that is killed outright may
// leave its child behind.
func Varnish(p Place) (Command, error) {
	program, err := find("VARNISHD", "/usr/sbin/varnishd", "varnishd")
	if err != nil {
		return Command{}, err
	}
	var words []string
	for name, at := range map[string]string{
		"api-1": p.APIs[0], "api-2": p.APIs[1], "gateway-1": p.Gateways[0], "gateway-2": p.Gateways[1],
	} {
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			return Command{}, err
		}
		words = append(words, `.host = "`+name+`"; .port = "8080";`, fmt.Sprintf(".host = %q; .port = %q;", host, port))
	}
	if err := p.adapt([]string{"varnish", "doorbell.vcl"}, words...); err != nil {
		return Command{}, err
	}
	return Command{program, []string{
		"-F", "-n", filepath.Join(p.Folder, "work"), "-a", p.Addr, "-f", filepath.Join(p.Folder, "doorbell.vcl"), "-s", "malloc,256m",
		// Without the command line that it would listen for, and with threads for a crowd from the beginning.
		"-T", "none", "-p", "thread_pool_min=200", "-p", "thread_pools=2",
	}}, nil
}

// adapt copies a file of deployments into the folder, with words replaced; each has to be there. Both programs drop root's rights, and
// read it then.
func (p Place) adapt(path []string, words ...string) error {
	from := filepath.Join(append([]string{p.Deployments}, path...)...)
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("the configuration that is shipped: %w", err)
	}
	text := string(b)
	for pair := range slices.Chunk(words, 2) {
		if !strings.Contains(text, pair[0]) {
			return fmt.Errorf("%s has no %q", from, pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	if err := os.Chmod(p.Folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.Folder, filepath.Base(from)), []byte(text), 0o644)
}

// FindNginx finds nginx where scripts/setup.sh looks.
func FindNginx() (string, error) { return find("NGINX", "/usr/sbin/nginx", "nginx") }

// find finds a program where scripts/setup.sh looks.
func find(variable, path, name string) (string, error) {
	for _, candidate := range []string{os.Getenv(variable), path, name} {
		if found, err := exec.LookPath(candidate); candidate != "" && err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("there is no %s here; run scripts/setup.sh, or set %s to its path", name, variable)
}
