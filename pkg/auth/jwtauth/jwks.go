package jwtauth

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// Bounds of what a JWKS URL may give.
const (
	maxSetBytes = 512 << 10
	maxSetKeys  = 100
)

// JWKS is a URL that gives a JSON Web Key Set (RFC 7517), whose keys come and go.
type JWKS struct {
	// URL is https, or http to this machine itself. Redirects are not followed.
	URL string
	// Refresh is how often the set is fetched. 0: 5 min.
	Refresh time.Duration
	// Pause is the least time between two fetches, however many tokens name keys that nobody has heard of. 0: 10 s.
	Pause time.Duration
	// Timeout bounds one fetch. 0: 5 s.
	Timeout time.Duration
	// MaxAge is how long keys are good when the set can't be fetched any more. 0: 24 h.
	MaxAge time.Duration
	// Client is used in place of one of its own. Its redirects and timeouts are its owner's business. For tests.
	Client *http.Client
}

// CheckURL tells what is wrong with a JWKS URL.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
		return errors.New("is no https:// URL, nor an http:// one of this machine itself")
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// remote is the keys of a JWKS. Those of the last fetch that succeeded hold.
type remote struct {
	// static
	opt     JWKS
	client  *http.Client
	log     *slog.Logger
	metrics *metrics
	ctx     context.Context // ends with close
	end     context.CancelFunc
	running sync.WaitGroup

	generation atomic.Uint64 // of keys; changes with them

	mu sync.Mutex
	// Guarded by mu.
	keys    keySet
	fetched time.Time     // when keys were; zero: never
	tried   time.Time     // when the last fetch began
	fetch   chan struct{} // closed when the fetch under way is over; nil: none is
}

func newRemote(opt JWKS, log *slog.Logger, m *metrics) (*remote, error) {
	if err := CheckURL(opt.URL); err != nil {
		return nil, fmt.Errorf("the JWKS URL %w", err)
	}
	opt.Refresh = cmp.Or(opt.Refresh, 5*time.Minute)
	opt.Pause = cmp.Or(opt.Pause, 10*time.Second)
	opt.Timeout = cmp.Or(opt.Timeout, 5*time.Second)
	opt.MaxAge = cmp.Or(opt.MaxAge, 24*time.Hour)
	r := &remote{opt: opt, client: opt.Client, log: log, metrics: m}
	if r.client == nil {
		r.client = &http.Client{
			Transport: &http.Transport{
				Proxy:       http.ProxyFromEnvironment,
				DialContext: (&net.Dialer{Timeout: opt.Timeout}).DialContext, TLSHandshakeTimeout: opt.Timeout,
				MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.running.Go(r.run)
	return r, nil
}

func (r *remote) close() {
	r.end()
	r.running.Wait()
}

// run fetches from time to time, at first at once; sooner again after a failure.
func (r *remote) run() {
	for r.ctx.Err() == nil {
		wait := r.opt.Refresh
		if done := r.begin(); done != nil {
			<-done
		}
		r.mu.Lock()
		if r.fetched.Before(r.tried) {
			wait = min(r.opt.Pause, wait)
		}
		if !r.fetched.IsZero() && time.Since(r.fetched) > r.opt.MaxAge && len(r.keys) > 0 {
			r.log.ErrorContext(r.ctx, "the keys of the JWKS are too old to be believed", "fetched", r.fetched)
			r.keys, r.fetched = nil, time.Time{}
			r.generation.Add(1)
		}
		r.mu.Unlock()
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1) + wait/4)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
		}
	}
}

// find waits for a fetch where that may help.
func (r *remote) find(ctx context.Context, id string, algorithm jose.SignatureAlgorithm) ([]key, bool, error) {
	keys, known, ever := r.look(id, algorithm)
	if known || ever && id == "" {
		return keys, known, nil
	}
	if done := r.begin(); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("wait for the JWKS: %w", errors.Join(auth.ErrUnavailable, ctx.Err()))
		}
		keys, known, ever = r.look(id, algorithm)
	}
	if !ever {
		return nil, false, fmt.Errorf("the JWKS has not been had yet: %w", auth.ErrUnavailable)
	}
	return keys, known, nil
}

func (r *remote) look(id string, algorithm jose.SignatureAlgorithm) (keys []key, known, ever bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, known = r.keys.find(id, algorithm)
	return keys, known, !r.fetched.IsZero()
}

// begin begins a fetch, or joins the one that is under way; nil: it's too soon for another one.
func (r *remote) begin() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.fetch != nil:
		return r.fetch
	case r.ctx.Err() != nil, !r.tried.IsZero() && time.Since(r.tried) < r.opt.Pause:
		return nil
	}
	done := make(chan struct{})
	r.fetch, r.tried = done, time.Now()
	r.running.Go(func() {
		defer close(done)
		keys, err := r.get()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fetch = nil
		if err != nil {
			if r.ctx.Err() == nil {
				r.metrics.failed.Inc()
				r.log.WarnContext(r.ctx, "the JWKS can't be fetched; the keys of before hold", "keys", len(r.keys), "error", err)
			}
			return
		}
		r.metrics.fetched.Inc()
		r.fetched = time.Now()
		if !slices.EqualFunc(r.keys, keys, key.equal) {
			r.log.InfoContext(r.ctx, "the JWKS has changed", "keys", len(keys), "before", len(r.keys))
			r.keys = keys
			r.generation.Add(1)
		}
	})
	return done
}

// equal tells whether two public keys are the same.
func (k key) equal(o key) bool {
	p, ok := k.verifies.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && k.id == o.id && k.algorithm == o.algorithm && p.Equal(o.verifies)
}

// get fetches the set.
func (r *remote) get() (keySet, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.opt.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.opt.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxSetBytes {
		return nil, fmt.Errorf("the set is larger than %d bytes", maxSetBytes)
	}
	return parseSet(body)
}

// parseSet reads a set. Keys of other kinds are passed over; a set that has such alone is an error, an empty one is not.
func parseSet(body []byte) (keySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("read the set: %w", err)
	}
	if set.Keys == nil || len(set.Keys) > maxSetKeys {
		return nil, fmt.Errorf("the set has %d keys; allowed: a list of at most %d", len(set.Keys), maxSetKeys)
	}
	keys := keySet{}
	for _, raw := range set.Keys {
		if k, ok := parseJWK(raw); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 && len(set.Keys) > 0 {
		return nil, errors.New("the set has no key that can be used")
	}
	return keys, nil
}

// parseJWK takes public keys for signatures alone: what is published is no secret.
func parseJWK(raw json.RawMessage) (key, bool) {
	var j jose.JSONWebKey
	if err := j.UnmarshalJSON(raw); err != nil || !j.Valid() || !j.IsPublic() || j.Use != "" && j.Use != "sig" || len(j.KeyID) > MaxKeyID {
		return key{}, false
	}
	algorithm, _ := fit(j.Key)
	if algorithm == "" || j.Algorithm != "" && j.Algorithm != string(algorithm) {
		return key{}, false
	}
	return key{id: j.KeyID, algorithm: algorithm, verifies: j.Key}, true
}
