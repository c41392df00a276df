package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/auth/revoked"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// Path begins the paths of all that Handler serves.
const Path = "/v1/admin/"

// maxBody is the largest body of a request, in bytes.
const maxBody = 4 << 10

// Bounds of a revocation's ttl.
const (
	defaultTTL = 24 * time.Hour
	maxTTL     = 400 * 24 * time.Hour
)

// skew is how far ahead of ours the clock of whoever asks may be.
const skew = time.Minute

// maxReason is the longest reason of a disconnect, in bytes: a close frame's.
const maxReason = 123

// Options are all required but for Wait.
type Options struct {
	// Auth knows the keys; only those that are Admin get in.
	Auth        auth.Authenticator
	Revocations *revoked.List
	Bus         bus.Broadcaster
	Logger      *slog.Logger
	// Wait is how long answers of nodes are awaited. 0: 800 ms.
	Wait time.Duration
}

// Handler serves what is below Path. It is safe for concurrent use.
type Handler struct {
	// static
	opt   Options
	asker *asker
}

// NewHandler makes one that listens to the bus. Close ends it.
func NewHandler(opt Options) *Handler {
	return &Handler{opt: opt, asker: newAsker(opt.Bus, cmp.Or(opt.Wait, 800*time.Millisecond))}
}

// Close ends listening. Closing twice is fine.
func (h *Handler) Close() { h.asker.deaf() }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result, err := h.serve(w, r)
	if err != nil {
		problem.Write(w, h.problem(r, err))
		return
	}
	body, err := json.Marshal(result)
	if err != nil {
		problem.Write(w, h.problem(r, err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body)
}

func (h *Handler) problem(r *http.Request, err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if errors.Is(err, bus.ErrUnavailable) || errors.Is(err, auth.ErrUnavailable) {
		p := problem.New(http.StatusServiceUnavailable, "unavailable",
			"the bus can't be reached right now; what was to be done may hold on some nodes")
		p.RetryAfter = 1
		return p
	}
	if errors.Is(err, revoked.ErrFull) {
		return problem.New(http.StatusInsufficientStorage, "too_many_revocations", err.Error())
	}
	h.opt.Logger.ErrorContext(r.Context(), "an operator's request failed", "path", r.URL.Path, "error", err)
	return problem.New(http.StatusInternalServerError, "internal", "something went wrong here; it is logged")
}

// serve finds out what to do. Whether there is such a path, only operators learn.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := h.mayEnter(r); err != nil {
		return nil, err
	}
	rest, _ := strings.CutPrefix(r.URL.EscapedPath(), Path)
	parts := strings.Split(rest, "/")
	method, do := http.MethodPost, (func(*http.Request, string) (any, error))(nil)
	subject := ""
	switch {
	case rest == "revocations":
		do = h.revoke
	case rest == "rebalance":
		do = h.rebalance
	case len(parts) == 3 && parts[0] == "subjects" && parts[2] == "sessions":
		method, do = http.MethodGet, h.sessions
	case len(parts) == 3 && parts[0] == "subjects" && parts[2] == "disconnect":
		do = h.disconnect
	}
	if do == nil {
		return nil, problem.New(http.StatusNotFound, "not_found", "there is nothing at this path")
	}
	if len(parts) == 3 {
		var err error
		if subject, err = url.PathUnescape(parts[1]); err != nil || subject == "" || len(subject) > revoked.MaxSubject {
			return nil, problem.New(http.StatusBadRequest, "bad_subject",
				fmt.Sprintf("the subject is not 1 to %d bytes", revoked.MaxSubject))
		}
	}
	if r.Method != method {
		w.Header().Set("Allow", method)
		return nil, problem.New(http.StatusMethodNotAllowed, "method_not_allowed", "allowed: "+method)
	}
	return do(r, subject)
}

func (h *Handler) mayEnter(r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return unauthorized("Bearer", `an admin key is needed: "Authorization: Bearer <key>"`)
	}
	p, err := h.opt.Auth.Authenticate(r.Context(), strings.TrimSpace(token))
	switch {
	case errors.Is(err, auth.ErrInvalid):
		return unauthorized(`Bearer error="invalid_token"`, "the key is not valid here")
	case err != nil:
		return err
	case !p.Admin:
		return problem.New(http.StatusForbidden, "forbidden", "this key is not an admin's")
	}
	return nil
}

func unauthorized(challenge, detail string) *problem.Problem {
	p := problem.New(http.StatusUnauthorized, "unauthorized", detail)
	p.Header = http.Header{"WWW-Authenticate": {challenge}}
	return p
}

// body reads a JSON object's members to where fields says, and no others; no body at all is an empty one.
func body(r *http.Request, fields map[string]any) error {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return problem.New(http.StatusBadRequest, "bad_body", "the body can't be read")
	}
	if len(text) > maxBody {
		return problem.New(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is larger than %d bytes", maxBody))
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return problem.New(http.StatusBadRequest, "bad_body", "the body is not one JSON object")
	}
	names := slices.Sorted(maps.Keys(fields))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		to, known := fields[name]
		if !known {
			return problem.New(http.StatusBadRequest, "unknown_field",
				fmt.Sprintf("the body has the unknown member %.40q; allowed: %s", name, strings.Join(names, ", "))).
				With("field", fmt.Sprintf("%.40s", name))
		}
		if err := json.Unmarshal(members[name], to); err != nil {
			return problem.New(http.StatusBadRequest, "bad_body",
				fmt.Sprintf("%s can't be %.60s; allowed: %s", name, members[name], allowed(to)))
		}
	}
	return nil
}

// allowed says what a field may be.
func allowed(field any) string {
	switch field.(type) {
	case *bool:
		return "true or false"
	case *time.Time:
		return `a time as of RFC 3339, such as "2026-01-31T12:00:00Z"`
	}
	return "a string"
}

func (h *Handler) revoke(r *http.Request, _ string) (any, error) {
	var asked struct {
		JTI, Subject, TTL string
		IssuedBefore      time.Time
	}
	err := body(r, map[string]any{
		"jti": &asked.JTI, "subject": &asked.Subject, "issued_before": &asked.IssuedBefore, "ttl": &asked.TTL,
	})
	if err != nil {
		return nil, err
	}
	ttl := defaultTTL
	if asked.TTL != "" {
		if ttl, err = time.ParseDuration(asked.TTL); err != nil || ttl < time.Second || ttl > maxTTL {
			return nil, problem.New(http.StatusBadRequest, "bad_ttl",
				fmt.Sprintf(`ttl is %.40q; allowed: "1s" to "%s", the lifetime of tokens or longer`, asked.TTL, maxTTL))
		}
	}
	now := time.Now()
	until := now.Add(ttl)
	var entry revoked.Entry
	switch {
	case (asked.JTI == "") == (asked.Subject == ""):
		return nil, problem.New(http.StatusBadRequest, "bad_body", "one of jti and subject is needed")
	case asked.JTI != "" && !asked.IssuedBefore.IsZero():
		return nil, problem.New(http.StatusBadRequest, "bad_issued_before",
			"issued_before goes with subject; a jti is one token's, whenever it was made")
	case asked.IssuedBefore.After(now.Add(skew)):
		return nil, problem.New(http.StatusBadRequest, "bad_issued_before", fmt.Sprintf(
			"issued_before is %s from now: tokens that aren't made yet would be taken back, too; "+
				"allowed: up to now, and %s for clocks that differ", asked.IssuedBefore.Sub(now).Round(time.Second), skew))
	case asked.JTI != "":
		entry = revoked.ByID(asked.JTI, until)
	case asked.IssuedBefore.IsZero():
		entry = revoked.BySubject(asked.Subject, now, until)
	default:
		entry = revoked.BySubject(asked.Subject, asked.IssuedBefore, until)
	}
	if err := entry.Check(); err != nil {
		return nil, problem.New(http.StatusBadRequest, "bad_body", err.Error())
	}
	if err := h.opt.Revocations.Revoke(r.Context(), entry); err != nil {
		return nil, err
	}
	h.opt.Logger.InfoContext(r.Context(), "tokens were revoked", "jti", asked.JTI, "subject", asked.Subject, "until", entry.Until)
	return map[string]any{"until": entry.Until.UTC().Format(time.RFC3339)}, nil
}

func (h *Handler) rebalance(r *http.Request, _ string) (any, error) {
	fraction, err := strconv.ParseFloat(r.URL.Query().Get("fraction"), 64)
	if err != nil || !(fraction > 0 && fraction <= 1) {
		return nil, problem.New(http.StatusBadRequest, "bad_fraction",
			"fraction is not a number above 0 and up to 1, such as ?fraction=0.1")
	}
	return h.counted(r, request{Do: doRebalance, Fraction: fraction})
}

func (h *Handler) disconnect(r *http.Request, subject string) (any, error) {
	var asked struct {
		Forbid bool
		Reason string
	}
	if err := body(r, map[string]any{"forbid": &asked.Forbid, "reason": &asked.Reason}); err != nil {
		return nil, err
	}
	if len(asked.Reason) > maxReason {
		return nil, problem.New(http.StatusBadRequest, "bad_reason",
			fmt.Sprintf("the reason is %d bytes long; allowed: %d", len(asked.Reason), maxReason))
	}
	return h.counted(r, request{
		Do: doDisconnect, Subject: subject, Forbid: asked.Forbid, Reason: cmp.Or(asked.Reason, "disconnected by the operator"),
	})
}

// counted is a request whose answers are numbers of connections.
func (h *Handler) counted(r *http.Request, ask request) (any, error) {
	answers, err := h.asker.ask(r.Context(), ask)
	if err != nil {
		return nil, err
	}
	type node struct {
		Node        string `json:"node"`
		Connections int    `json:"connections"`
	}
	all := struct {
		Connections int    `json:"connections"`
		Nodes       []node `json:"nodes"`
	}{Nodes: []node{}}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		all.Connections += answers[name].Count
		all.Nodes = append(all.Nodes, node{name, answers[name].Count})
	}
	return all, nil
}

func (h *Handler) sessions(r *http.Request, subject string) (any, error) {
	answers, err := h.asker.ask(r.Context(), request{Do: doSessions, Subject: subject})
	if err != nil {
		return nil, err
	}
	type node struct {
		Node string `json:"node"`
		// Connections is how many there are; Sessions lists a thousand at most.
		Connections int       `json:"connections"`
		Sessions    []Session `json:"sessions"`
	}
	all := struct {
		Subject     string `json:"subject"`
		Connections int    `json:"connections"`
		Nodes       []node `json:"nodes"`
	}{Subject: subject, Nodes: []node{}}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		a := answers[name]
		all.Connections += a.Count
		all.Nodes = append(all.Nodes, node{name, a.Count, append([]Session{}, a.Sessions...)})
	}
	return all, nil
}
