// Package admin is what operators do to all nodes at once: take tokens back, see and end a subject's sessions, move connections
// elsewhere. Any node that serves HTTP takes the request; the bus carries it to the gateways.
//
//	POST /v1/admin/… ─▶ Handler ─▶ request on the bus ─▶ Serve of each gateway ─▶ answers on the bus ─▶ Handler: all that came in time
//
// Nobody knows how many gateways there are, so a request waits for as long as answers may take, and tells which nodes gave one.
package admin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

// Topics on the bus.
const (
	requests = "admin"
	answers  = "admin-answers"
)

// bytesAtOnce is how large the sessions of one message are, so that it fits with the rest of it; sessionsAtMost is how many a node
// tells of.
const (
	bytesAtOnce    = bus.MaxBroadcast - 2048
	sessionsAtMost = 1000
)

// Gateway is a node that has connections. Its methods don't wait for clients.
type Gateway interface {
	// Sessions lists a subject's.
	Sessions(subject string) []Session
	// Disconnect ends a subject's connections and tells how many: with 4003, not to come back, or with 1012.
	Disconnect(subject string, forbid bool, reason string) int
	// Rebalance has a part of the connections, 0 to 1, go elsewhere, and tells how many.
	Rebalance(fraction float64) int
}

// Session is one connection as operators see it.
type Session struct {
	ID string `json:"session"`
	// TokenID is its token's (jti); "" for one that has none.
	TokenID string `json:"jti,omitempty"`
	// Expires is when its token ends; nil: never.
	Expires *time.Time `json:"expires,omitempty"`
}

// What a request asks for.
const (
	doSessions   = "sessions"
	doDisconnect = "disconnect"
	doRebalance  = "rebalance"
)

// request goes to all gateways.
type request struct {
	ID       string  `json:"id"`
	Do       string  `json:"do"`
	Subject  string  `json:"subject,omitempty"`
	Forbid   bool    `json:"forbid,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Fraction float64 `json:"fraction,omitempty"`
}

// answer is a part of a node's answer to the request of that ID; the parts of one add up.
type answer struct {
	ID       string    `json:"id"`
	Node     string    `json:"node"`
	Count    int       `json:"count"`
	Sessions []Session `json:"sessions,omitempty"`
}

// Serve has the gateway do what operators ask for on the bus, until it is stopped. node names it in answers.
func Serve(b bus.Broadcaster, node string, g Gateway, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	deaf := b.Listen(requests, &server{ctx: ctx, bus: b, node: node, gateway: g, log: log})
	return func() {
		cancel()
		deaf()
	}
}

type server struct {
	ctx     context.Context
	bus     bus.Broadcaster
	node    string
	gateway Gateway
	log     *slog.Logger
}

// Gap is nothing to make up for: whoever asked has had no answer.
func (s *server) Gap() {}

func (s *server) Hear(message []byte) {
	var r request
	if err := json.Unmarshal(message, &r); err != nil || r.ID == "" {
		return
	}
	switch r.Do {
	case doSessions:
		all := s.gateway.Sessions(r.Subject)
		count := len(all)
		all = all[:min(count, sessionsAtMost)]
		for {
			n := fitting(all)
			s.answer(answer{ID: r.ID, Count: count, Sessions: all[:n]})
			if all, count = all[n:], 0; len(all) == 0 {
				return
			}
		}
	case doDisconnect:
		n := s.gateway.Disconnect(r.Subject, r.Forbid, r.Reason)
		s.log.Info("a subject was disconnected", "subject", r.Subject, "connections", n, "forbidden", r.Forbid)
		s.answer(answer{ID: r.ID, Count: n})
	case doRebalance:
		n := s.gateway.Rebalance(r.Fraction)
		s.log.Info("connections go elsewhere", "fraction", r.Fraction, "connections", n)
		s.answer(answer{ID: r.ID, Count: n})
	}
}

// fitting is how many of the first fit into one message: at least one, if there are any.
func fitting(all []Session) (n int) {
	for size := 0; n < len(all); n++ {
		text, err := json.Marshal(all[n])
		if size += len(text) + 1; err != nil || (n > 0 && size > bytesAtOnce) {
			break
		}
	}
	return max(n, min(1, len(all)))
}

func (s *server) answer(a answer) {
	a.Node = s.node
	message, err := json.Marshal(a)
	if err == nil {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		err = s.bus.Broadcast(ctx, answers, message)
	}
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("an operator's request can't be answered", "error", err)
	}
}

// asker puts requests and gathers answers.
type asker struct {
	// static
	bus  bus.Broadcaster
	wait time.Duration
	deaf func()

	mu sync.Mutex
	// Guarded by mu.
	open map[string]map[string]*answer // by request, then by node
}

func newAsker(b bus.Broadcaster, wait time.Duration) *asker {
	a := &asker{bus: b, wait: wait, open: make(map[string]map[string]*answer)}
	a.deaf = b.Listen(answers, a)
	return a
}

// Gap may have cost answers; the request tells which nodes gave one.
func (a *asker) Gap() {}

func (a *asker) Hear(message []byte) {
	var part answer
	if err := json.Unmarshal(message, &part); err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	nodes := a.open[part.ID]
	switch whole := nodes[part.Node]; {
	case nodes == nil: // another node's, or too late
	case whole == nil:
		nodes[part.Node] = &part
	case len(whole.Sessions) < sessionsAtMost:
		whole.Count += part.Count
		whole.Sessions = append(whole.Sessions, part.Sessions...)
	}
}

// ask gives what the nodes have answered in time.
func (a *asker) ask(ctx context.Context, r request) (map[string]*answer, error) {
	r.ID = rand.Text()
	message, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]*answer)
	a.mu.Lock()
	a.open[r.ID] = nodes
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.open, r.ID)
		a.mu.Unlock()
	}()
	if err := a.bus.Broadcast(ctx, requests, message); err != nil {
		return nil, err
	}
	timer := time.NewTimer(a.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, r.ID)
	return nodes, nil
}
