package rest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"

	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

const (
	idempotencyKey     = "Idempotency-Key"
	idempotencyReplay  = "Idempotency-Replayed"
	maxIdempotencyKey  = 255
	codeIdempotencyKey = "bad_idempotency_key"
)

// once reads the Idempotency-Key of a write whose body has been read; nil: it has none. The key is one of the subject's, for this
// method and path; what it stands for is the body and the conditions. render appends the answer to a write that succeeds.
func (s *Server) once(x *exchange, render func([]byte, store.Written) []byte) (*store.Once, error) {
	h := x.c.Request.Header
	key, err := parseIdempotencyKey(h.Values(idempotencyKey))
	if key == "" || err != nil {
		return nil, err
	}
	return &store.Once{
		ID:     digest([]string{x.subject, x.c.Request.Method, x.c.Request.URL.Path, key}),
		Digest: digest([]string{string(x.sent)}, h.Values("If-Match"), h.Values("If-None-Match")),
		Answer: func(w store.Written, err error) []byte {
			if err == nil {
				return render(keptAnswer(http.StatusOK), w)
			}
			p := s.problem(x, err)
			body, err := p.MarshalJSON()
			if err != nil { // of texts and numbers alone
				body = nil
			}
			return append(keptAnswer(p.Status), body...)
		},
	}, nil
}

// parseIdempotencyKey takes the key bare, or in quotes as a structured field has it.
func parseIdempotencyKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	ok := len(values) == 1 && key != "" && len(key) <= maxIdempotencyKey
	for _, c := range []byte(key) {
		ok = ok && c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != ','
	}
	if !ok {
		return "", problem.New(http.StatusBadRequest, codeIdempotencyKey, fmt.Sprintf(
			`Idempotency-Key is not one key; allowed: 1 to %d characters of ASCII without spaces, quotes, commas and backslashes`,
			maxIdempotencyKey))
	}
	return key, nil
}

// digest is one of all the texts; each list and text is told from the next by its length.
func digest(lists ...[]string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, list := range lists {
		writeLength(h, len(list))
		for _, text := range list {
			writeLength(h, len(text))
			_, _ = h.Write([]byte(text)) // a hash takes everything
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func writeLength(h hash.Hash, n int) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	_, _ = h.Write(b[:])
}

// keptAnswer begins what is kept of an answer: its status, a space, and then its body.
func keptAnswer(status int) []byte { return fmt.Appendf(nil, "%d ", status) }

// orRepeat answers as the first time, if that is what the error says; otherwise it gives the error, or what it means here.
func (s *Server) orRepeat(x *exchange, err error) error {
	repeated, ok := errors.AsType[*store.Repeated](err)
	switch {
	case errors.Is(err, store.ErrRunning):
		p := problem.New(http.StatusConflict, "idempotency_key_running", "the write with this Idempotency-Key is being done right now")
		p.RetryAfter = 1
		return p
	case errors.Is(err, store.ErrReused):
		return problem.New(http.StatusUnprocessableEntity, "idempotency_key_reused",
			"this Idempotency-Key was used here for another body or other conditions; allowed: the same again, or a new key")
	case !ok:
		return err
	}
	const prefix = len("200 ")
	if len(repeated.Answer) < prefix {
		return fmt.Errorf("a kept answer is %q", repeated.Answer)
	}
	status, err := strconv.Atoi(string(repeated.Answer[:prefix-1]))
	if err != nil {
		return fmt.Errorf("a kept answer begins %q: %w", repeated.Answer[:prefix], err)
	}
	x.header().Set(idempotencyReplay, "true")
	body := repeated.Answer[prefix:]
	if status == http.StatusOK {
		s.send(x, body)
		return nil
	}
	x.sendKeptProblem(status, body)
	return nil
}

// sendKeptProblem answers with a problem's bytes.
func (x *exchange) sendKeptProblem(status int, body []byte) {
	h := x.header()
	setCacheHeaders(h, outcome{status: status}, x.policy.Cache)
	h.Set("Content-Type", problem.ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	x.c.Status(status)
	_, _ = x.c.Writer.Write(body) // the client may be gone
}
