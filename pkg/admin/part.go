package admin

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/auth/guard"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/lifecycle"
)

// Desk is a process's part in admin: it takes operators' requests, and does what they ask for if the process has a gateway.
type Desk struct {
	// set while starting
	handler *Handler
	stop    func() // ends Serve
}

// Part starts the desk once bus and guard are there; gateway is nil in a process without one. On a bus that carries nothing but
// heads there is no desk.
func (d *Desk) Part(b func() bus.Bus, g func() *guard.Guard, gateway func() Gateway, log *slog.Logger) lifecycle.Part {
	return lifecycle.Part{
		Name: "admin",
		Start: func(context.Context) error {
			carrier, ok := b().(bus.Broadcaster)
			if !ok {
				return nil
			}
			d.handler = NewHandler(Options{Auth: g(), Revocations: g().Revocations(), Bus: carrier, Logger: log})
			d.stop = func() {}
			if gateway != nil {
				d.stop = Serve(carrier, nodeName(), gateway(), log)
			}
			return nil
		},
		Stop: func(context.Context) error {
			if d.handler != nil {
				d.stop()
				d.handler.Close()
			}
			return nil
		},
	}
}

// nodeName tells the processes of a machine apart.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + strings.ToLower(rand.Text()[:6])
}

// Serves tells whether the request is the desk's, and answers it then.
func (d *Desk) Serves(w http.ResponseWriter, r *http.Request) bool {
	if d.handler == nil || !strings.HasPrefix(r.URL.Path, Path) {
		return false
	}
	d.handler.ServeHTTP(w, r)
	return true
}
