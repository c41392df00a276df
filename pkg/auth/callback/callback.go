// Package callback asks the application, over HTTP, what a subject may do with feeds that no pattern of a token can express.
//
//	Authorize ─▶ cache ─▶ join a question under way ─▶ circuit breaker ─▶ POST {subject, action, feeds} ─▶ {allowed}
//
// Whatever goes wrong, the verdict is Unknown, which allows nothing. Answers are remembered per subject, feed and action.
package callback

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	// feedsAtOnce is the most feeds of one question.
	feedsAtOnce = 500
	// questionsAtOnce is the most questions under way.
	questionsAtOnce = 64
	// maxAnswer is the largest answer that is read, in bytes.
	maxAnswer = 1 << 20
	// tripAfter is how many failures in a row open the circuit, restAfter how long it stays open.
	tripAfter = 5
	restAfter = 5 * time.Second
)

// Options say whom to ask. URL is required; the zero value of the others is the default.
type Options struct {
	// URL is asked with POST. Redirects are not followed.
	URL string
	// Secret goes along as "Authorization: Bearer", so that the application knows who asks. "": nothing does.
	Secret string
	// Timeout bounds one question. 2 s.
	Timeout time.Duration
	// AllowTTL and DenyTTL are how long answers hold. 1 min and 10 s.
	AllowTTL, DenyTTL time.Duration
	// CacheBytes bounds the memory of answers. 16 MiB.
	CacheBytes int
	// Logger is told when the application can't be asked. nil: slog.Default().
	Logger *slog.Logger
	// Metrics is where metrics are registered. nil: nowhere.
	Metrics prometheus.Registerer
}

// Callback is an Authorizer.
type Callback struct {
	// static
	opt      Options
	client   *http.Client
	breaker  *gobreaker.CircuitBreaker[[]feed.Name]
	cache    *otter.Cache[key, remembered]
	slots    chan struct{} // holds one for each question under way
	ctx      context.Context
	end      context.CancelFunc
	running  sync.WaitGroup
	outcomes *prometheus.CounterVec

	mu sync.Mutex
	// Guarded by mu.
	closed bool
	asked  map[key]*question // under way
}

var _ auth.Authorizer = (*Callback)(nil)

type key struct {
	subject string
	feed    feed.Name
	action  auth.Action
}

type remembered struct {
	allowed bool
	until   time.Time
}

// question is one that is under way.
type question struct {
	feeds []feed.Name
	done  chan struct{}
	// static once done is closed
	allowed map[feed.Name]bool
	failed  bool
}

// New makes a Callback. Close ends it.
func New(opt Options) (*Callback, error) {
	opt.Timeout = cmp.Or(opt.Timeout, 2*time.Second)
	opt.AllowTTL, opt.DenyTTL = cmp.Or(opt.AllowTTL, time.Minute), cmp.Or(opt.DenyTTL, 10*time.Second)
	opt.CacheBytes = cmp.Or(opt.CacheBytes, 16<<20)
	opt.Logger = cmp.Or(opt.Logger, slog.Default())
	c := &Callback{opt: opt, asked: make(map[key]*question), slots: make(chan struct{}, questionsAtOnce)}
	c.client = &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: opt.Timeout}).DialContext, TLSHandshakeTimeout: opt.Timeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: questionsAtOnce, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.breaker = gobreaker.NewCircuitBreaker[[]feed.Name](gobreaker.Settings{
		Name: "authorization callback", Timeout: restAfter,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		IsExcluded: func(err error) bool {
			refused := status(0)
			return errors.As(err, &refused) && refused.ofTheQuestion()
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			opt.Logger.Warn("the authorization callback's circuit has changed", "from", from.String(), "to", to.String())
		},
	})
	var err error
	c.cache, err = otter.New(&otter.Options[key, remembered]{
		MaximumWeight: uint64(opt.CacheBytes),
		Weigher: func(k key, _ remembered) uint32 {
			const entry = 200 // of the cache's own
			return uint32(entry + len(k.subject) + len(k.feed))
		},
		Executor: func(f func()) { f() }, // nothing runs behind the scenes
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of authorizations: %w", err)
	}
	c.outcomes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorbell_auth_callback_total", Help: "Feeds that the authorization callback was needed for, by outcome.",
	}, []string{"outcome"})
	if opt.Metrics != nil {
		opt.Metrics.MustRegister(c.outcomes)
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c, nil
}

// Close ends questions that are under way. Closing twice is fine.
func (c *Callback) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.running.Wait()
	c.client.CloseIdleConnections()
}

// Authorize waits for at most about the timeout for its turn, and for the timeout for the answer, or until ctx ends.
func (c *Callback) Authorize(ctx context.Context, p *auth.Principal, a auth.Action, feeds []feed.Name) []auth.Verdict {
	verdicts := make([]auth.Verdict, len(feeds))
	waits := make(map[*question][]int) // indexes of feeds
	var open []feed.Name
	var at []int
	now := time.Now()
	c.mu.Lock()
	for i, name := range feeds {
		k := key{p.Subject, name, a}
		if r, ok := c.cache.GetIfPresent(k); ok && now.Before(r.until) {
			verdicts[i] = verdict(r.allowed)
			c.outcomes.WithLabelValues("cached").Inc()
		} else if q := c.asked[k]; q != nil {
			waits[q] = append(waits[q], i)
		} else {
			open, at = append(open, name), append(at, i)
		}
	}
	for len(open) > 0 && !c.closed {
		n := min(len(open), feedsAtOnce)
		q := c.askLocked(p.Subject, a, slices.Clone(open[:n]))
		waits[q] = append(waits[q], at[:n]...)
		open, at = open[n:], at[n:]
	}
	c.mu.Unlock()
	for _, i := range at {
		verdicts[i] = auth.Unknown
	}
	for q, all := range waits {
		select {
		case <-q.done:
		case <-ctx.Done():
		}
		for _, i := range all {
			select {
			case <-q.done:
				if verdicts[i] = verdict(q.allowed[feeds[i]]); !q.failed {
					continue
				}
			default:
			}
			verdicts[i] = auth.Unknown
		}
	}
	return verdicts
}

func verdict(allowed bool) auth.Verdict {
	if allowed {
		return auth.Allowed
	}
	return auth.Forbidden
}

// askLocked begins a question. It goes on when whoever asked leaves: others may have joined, and the answer is remembered.
func (c *Callback) askLocked(subject string, a auth.Action, feeds []feed.Name) *question {
	q := &question{feeds: feeds, done: make(chan struct{})}
	for _, name := range feeds {
		c.asked[key{subject, name, a}] = q
	}
	c.running.Go(func() {
		allowed, err := c.ask(subject, a, feeds)
		outcome := "answered"
		if err != nil {
			q.failed, outcome = true, "failed"
			if c.ctx.Err() == nil && !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests) {
				c.opt.Logger.Warn("the authorization callback failed", "error", err)
			}
		}
		c.outcomes.WithLabelValues(outcome).Add(float64(len(feeds)))
		q.allowed = make(map[feed.Name]bool, len(allowed))
		for _, name := range allowed {
			q.allowed[name] = true
		}
		now := time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, name := range feeds {
			k := key{subject, name, a}
			delete(c.asked, k)
			switch {
			case q.failed:
			case q.allowed[name]:
				c.cache.Set(k, remembered{true, now.Add(c.opt.AllowTTL)})
			default:
				c.cache.Set(k, remembered{false, now.Add(c.opt.DenyTTL)})
			}
		}
		close(q.done)
	})
	return q
}

// ask asks once it is its turn. That others take theirs is no failure of the application: whoever asks a lot would open the circuit
// for all.
func (c *Callback) ask(subject string, a auth.Action, feeds []feed.Name) ([]feed.Name, error) {
	turn, cancel := context.WithTimeout(c.ctx, c.opt.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-turn.Done():
		return nil, fmt.Errorf("wait for other questions: %w", turn.Err())
	}
	return c.breaker.Execute(func() ([]feed.Name, error) { return c.post(subject, a, feeds) })
}

// status is one that isn't 200.
type status int

func (s status) Error() string { return fmt.Sprintf("status %d", int(s)) }

// ofTheQuestion tells whether the status is about this question, and so about one subject, rather than about the application.
func (s status) ofTheQuestion() bool {
	return s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests
}

// post asks, and gives the feeds that are allowed.
func (c *Callback) post(subject string, a auth.Action, feeds []feed.Name) ([]feed.Name, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opt.Timeout)
	defer cancel()
	body, err := json.Marshal(struct {
		Subject string      `json:"subject"`
		Action  string      `json:"action"`
		Feeds   []feed.Name `json:"feeds"`
	}{subject, a.String(), feeds})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opt.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.opt.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+c.opt.Secret)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, status(resp.StatusCode)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	var answer struct {
		Allowed []feed.Name `json:"allowed"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if answer.Allowed == nil { // a page of something else is no answer
		return nil, errors.New(`the answer has no list "allowed"`)
	}
	return answer.Allowed, nil
}
