// Package api serves Doorbell's feeds over HTTP: snapshots and deltas that caches love, and the writes.
//
//	a, err := api.New(api.Options{Store: st, Bus: b, Policies: policies, Auth: keys})
//	srv := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
//	…
//	srv.Shutdown(ctx); a.Close() // in this order; then the bus, then the store
//
// The protocol is what docs call "HTTP: the API service". The host owns the listener, TLS, header limits and the
// logging of requests. It has to hand over paths as they came: an http.ServeMux in front would clean and redirect them.
package api

import (
	"fmt"
	"net/http"

	"github.com/doorbell-sync/doorbell/services/api/internal/rest"
)

// Store is what the API needs of the store.
type Store = rest.Store

// Options says what the API serves and to whom. Store, Bus and Policies are required.
type Options = rest.Options

// Limits are how much one client may ask for; the zero Limits are none.
type Limits = rest.Limits

// Limit is so many requests a second in the long run, and so many at once.
type Limit = rest.Limit

// API is the service. It is safe for concurrent use.
type API struct {
	server *rest.Server
}

// New makes an API, which serves as soon as its Handler is mounted. Close ends it. The error joins everything that is
// wrong with the options.
func New(opts Options) (*API, error) {
	server, err := rest.New(opts)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return &API{server: server}, nil
}

// Handler serves everything below /v1/ that is the API's. What isn't gets 404 as a problem.
func (a *API) Handler() http.Handler { return a.server.Handler() }

// Waiting is how many reads wait for the store to come up to their at_least.
func (a *API) Waiting() int { return a.server.Waiting() }

// Cached is how many feeds are held in memory, and about how many bytes they take.
func (a *API) Cached() (feeds, bytes int) { return a.server.Cached() }

// Polling is how many long polls wait for news.
func (a *API) Polling() int { return a.server.Polling() }

// Drain has long polls answered at once from now on, telling clients to come back at once on another connection; those that
// wait already go on, until Close.
func (a *API) Drain() { a.server.Drain() }

// Close answers waiting reads with 503, long polls with what there is, and ends what runs behind the scenes. Requests may
// still come; those that would have to wait get 503. It neither waits for requests (that is the host's) nor closes the
// store or the bus. Closing twice is fine.
func (a *API) Close() { a.server.Close() }
