// Package rest is the API's HTTP side: routes, who may do what, what caches may hold, and the bytes of every answer.
//
//	request ─▶ recovery ─▶ name, origin, access ─▶ parameters or body ─▶ 304 from the bus's head
//	                                                                └─▶ store ─▶ body by hand, headers by table
//
// Everything that goes wrong is returned as an error and becomes a problem in one place (problems.go).
package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/origin"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/announce"
	"github.com/doorbell-sync/doorbell/services/api/internal/atleast"
)

// maxResponseBytes is about how large an answer gets: the keys and values in it.
const maxResponseBytes = 4 << 20

// Store is what the API needs of the store.
type Store interface {
	store.Reader
	store.Writer
}

// Options are those of package api, which documents them. All must be set, but for Auth, the lists and OpenWrites.
type Options struct {
	Store          Store
	Bus            bus.Bus
	Policies       *policy.Set
	Auth           auth.Authenticator
	OpenWrites     bool
	AllowedOrigins []string
	TrustedProxies []string
	Logger         *slog.Logger
	AtLeastWait    time.Duration
	MaxWaiting     int
	HeadsWait      time.Duration
	BodyTimeout    time.Duration
	StallTimeout   time.Duration
	ReadTimeout    time.Duration
	WriteTimeout   time.Duration
	PublishTimeout time.Duration
	Limits         Limits
}

// Server answers requests. It is safe for concurrent use.
type Server struct {
	// static
	Options
	origins *origin.List
	proxies origin.Proxies
	limits  *limits // nil: nothing is limited
	handler http.Handler

	announce *announce.Announcer
	waiters  *atleast.Waiters
	shared   singleflight.Group
	ctx      context.Context // ends with Close
	end      context.CancelFunc
}

// New makes a Server. Close ends what it has running.
func New(opts Options) (*Server, error) {
	s := &Server{Options: opts}
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
	if s.handler, err = s.routes(); err != nil {
		return nil, fmt.Errorf("set up the routes: %w", err)
	}
	s.waiters, err = atleast.New(s.Bus, s.askHead, opts.MaxWaiting, s.Logger)
	if err != nil {
		return nil, err
	}
	s.announce = announce.New(s.Bus, opts.PublishTimeout, s.Logger)
	s.ctx, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Handler is the routes.
func (s *Server) Handler() http.Handler { return s.handler }

// Waiting is how many requests wait for the store to come up to their at_least.
func (s *Server) Waiting() int { return s.waiters.Waiting() }

// Close ends waiting requests with 503. Closing twice is fine.
func (s *Server) Close() {
	s.waiters.Close()
	s.announce.Close()
	s.end()
	if err := s.limits.close(); err != nil {
		s.Logger.Debug("can't close the limits' Redis", "error", err)
	}
}

func (s *Server) askHead(ctx context.Context, name feed.Name) (feed.Cursor, error) {
	heads, err := s.Store.Heads(ctx, []feed.Name{name})
	if err != nil {
		return feed.Cursor{}, err
	}
	return heads[0], nil
}
