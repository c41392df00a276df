// Package rest is the API's HTTP side: routes, who may do what, what caches may hold, and the bytes of every answer.
//
//	hot read ─▶ the feed's window ─▶ the finished answer, bytes and headers
//	request ─▶ recovery ─▶ name, origin, access ─▶ parameters or body ─▶ 304 from the head that was signalled
//	                                                                └─▶ window or store ─▶ body by hand, headers by table
//	long poll ─▶ the same, on a stack that ends ─▶ waits, on net/http's ─▶ the same once more
//
// Everything that goes wrong is returned as an error and becomes a problem in one place (problems.go).
package rest

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/origin"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/admission"
	"github.com/doorbell-sync/doorbell/services/api/internal/announce"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// maxResponseBytes is about how large an answer gets: the keys and values in it.
const maxResponseBytes = 4 << 20

// Server answers requests. It is safe for concurrent use.
type Server struct {
	// static
	Options
	origins *origin.List
	proxies origin.Proxies
	limits  *limits // nil: nothing is limited
	handler http.Handler
	metrics *metrics
	gate    *admission.Gate
	reads   store.Reader // behind the gate
	writer  store.Writer // behind the gate; tells the windows

	announce *announce.Announcer
	windows  *window.Windows
	crew     *crew
	tokens   tokens
	draining atomic.Bool
}

// New makes a Server. Close ends what it has running. The error joins everything that is wrong with the options.
func New(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Server{Options: opts.withDefaults()}
	var errs []error
	var err error
	if s.origins, err = origin.ParseList(opts.AllowedOrigins); err != nil {
		errs = append(errs, fmt.Errorf("allowed origins: %w", err))
	}
	if s.proxies, err = origin.ParseProxies(opts.TrustedProxies); err != nil {
		errs = append(errs, fmt.Errorf("trusted proxies: %w", err))
	}
	if s.limits, err = newLimits(opts.Limits, s.Logger); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, opts.Limits.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, s.limits.close())
	}
	s.metrics = newMetrics()
	s.gate = admission.New(s.DatabaseCalls, s.metrics.queried)
	if s.Traces != nil {
		s.Store = tracedStore{s.Store}
	}
	s.reads = s.gate.Reader(s.Store)
	routes, err := s.routes()
	if err != nil {
		return nil, fmt.Errorf("set up the routes: %w", err)
	}
	s.crew = newCrew()
	s.tokens.by, _ = s.Auth.(auth.Revoker)
	s.handler = &parking{s, routes, s.crew}
	s.announce = announce.New(s.Bus, s.Store, s.PublishTimeout, s.Logger)
	s.windows, err = window.New(window.Options{
		Store: s.reads, Bus: s.Bus, Logger: s.Logger, Bytes: s.CacheBytes,
		MaxWaiting: s.MaxWaiting, AtLeastWait: s.AtLeastWait, ReadTimeout: s.ReadTimeout,
		Found: s.announce.Found,
	})
	if err != nil {
		s.announce.Close()
		return nil, err
	}
	s.writer = s.gate.Writer(window.Telling(s.Store, s.windows))
	if err := s.register(s.Metrics); err != nil {
		s.Close()
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	return s, nil
}

// Handler is the routes.
func (s *Server) Handler() http.Handler { return s.handler }

// Waiting is how many requests wait for the store to come up to their at_least.
func (s *Server) Waiting() int { return s.windows.Waiting() }

// Cached is how many feeds are held in memory, and about how many bytes they take.
func (s *Server) Cached() (feeds, bytes int) { return s.windows.Feeds(), s.windows.Bytes() }

// Close ends waiting requests: those for their floor with 503, long polls with what there is. Closing twice is fine.
func (s *Server) Close() {
	s.Drain()
	s.windows.Close()
	s.crew.close()
	s.announce.Close()
	if err := s.limits.close(); err != nil {
		s.Logger.Debug("can't close the limits' Redis", "error", err)
	}
}
