package allinone

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/httphost"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/page"
)

// routes tells requests apart by hand: http.ServeMux would clean and redirect paths, and the API must see them as they
// came.
func (n *Node) routes() http.Handler {
	signals, api, live, ready := n.gateway.Handler(), n.api.Handler(), page.Handler(), httphost.Ready(n.ready, n.log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/v1/signals":
			signals.ServeHTTP(w, r)
		case n.admin.Serves(w, r):
		case strings.HasPrefix(path, "/v1/"):
			api.ServeHTTP(w, r)
		case path == "/healthz":
			httphost.Alive(w, r)
		case path == "/readyz":
			ready(w, r)
		default:
			live.ServeHTTP(w, r)
		}
	})
}

// ready tells whether the node should get traffic: its database answers and it isn't stopping.
func (n *Node) ready(ctx context.Context) error {
	if n.drain.Begun() || !n.gateway.Status().Ready {
		return errors.New("stopping")
	}
	return n.store.Ping(ctx)
}
