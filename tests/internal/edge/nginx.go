package edge

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// around is what the shipped file is included from: one process in the foreground, with all of its files in one folder.
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

// Nginx starts nginx with deployments/nginx/doorbell-cache.conf and returns when it serves. Its files go into folder.
func Nginx(folder string, o Origin) (*Edge, error) {
	bin, err := find("NGINX", "/usr/sbin/nginx", "nginx")
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	inner, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	apis, gateways := o.pairs()
	text, err := adapted(Shipped("nginx", "doorbell-cache.conf"), [][2]string{
		{"server api-1:8080 ", "server " + apis[0] + " "}, {"server api-2:8080 ", "server " + apis[1] + " "},
		{"server gateway-1:8080 ", "server " + gateways[0] + " "}, {"server gateway-2:8080 ", "server " + gateways[1] + " "},
		{"listen 127.0.0.1:8079 ", "listen " + inner + " "}, {"server 127.0.0.1:8079 ", "server " + inner + " "},
		{"listen 80;", "listen " + addr + ";"}, {"/var/cache/nginx/", folder + "/cache-"},
	})
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{"doorbell-cache.conf": text, "nginx.conf": fmt.Sprintf(around, folder)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	run, err := process.Start(bin, []string{"-p", folder, "-c", filepath.Join(folder, "nginx.conf")}, process.Options{})
	if err != nil {
		return nil, err
	}
	e := &Edge{Name: "nginx", Log: run.Err, addr: addr, run: run}
	return e, e.serves()
}
