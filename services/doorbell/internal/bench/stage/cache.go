//go:build linux

package stage

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/pkg/testkit/caches"
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
	listener, err := net.Listen("tcp4", addr) //nolint:noctx // it takes no time
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
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	inner, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	place := caches.Place{
		Deployments: deployments, Folder: folder, Addr: addr, Inner: inner,
		APIs: [2]string{origin, origin}, Gateways: [2]string{gateway, gateway},
	}
	var c caches.Command
	ended := syscall.SIGKILL
	switch name {
	case "nginx":
		c, err = caches.Nginx(place)
	case "varnish":
		c, err = caches.Varnish(place)
		ended = syscall.SIGTERM // a manager that is killed outright may leave its child behind
	default:
		err = fmt.Errorf("the cache %q is not known; allowed: %s", name, strings.Join(Caches(), ", "))
	}
	if err != nil {
		return nil, err
	}
	s, err := launch(t, name, addr, ended, c.Program, c.Args...)
	if err != nil {
		return nil, err
	}
	return s, s.waitPort()
}
