package rest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// bodyDeadline bounds how long a body may take to arrive. It also holds for what net/http reads of a body that nobody
// wanted, before it uses the connection again.
func (s *Server) bodyDeadline(c *gin.Context) {
	if c.Request.ContentLength != 0 {
		if h := heldBy(c); h == nil || !h.over { // that of a request that has waited has been read
			s.setReadDeadline(c, time.Now().Add(s.BodyTimeout))
		}
	}
	c.Next()
}

func (s *Server) setReadDeadline(c *gin.Context, t time.Time) {
	err := http.NewResponseController(c.Writer).SetReadDeadline(t)
	if err != nil && !errors.Is(err, http.ErrNotSupported) { // a recorder in a test has none
		s.Logger.Debug("can't set a read deadline", "error", err)
	}
}

// jsonBody reads a body of JSON of at most limit bytes; larger gives the error tooLarge.
func (s *Server) jsonBody(x *exchange, limit int, tooLarge *problem.Problem) ([]byte, error) {
	if err := checkContent(x.c.Request.Header); err != nil {
		return nil, err
	}
	return s.body(x, limit, tooLarge)
}

// noBody reads a body that has nothing to say: none, or an empty JSON object. Members would be conditions or the
// like that the client believes are kept.
func (s *Server) noBody(x *exchange) error {
	const limit = 4 << 10
	body, err := s.body(x, limit, tooLarge("too_large", "body", limit))
	if err != nil || len(body) == 0 {
		return err
	}
	if err := checkContent(x.c.Request.Header); err != nil {
		return err
	}
	return parseNothing(body)
}

func (s *Server) body(x *exchange, limit int, tooLarge *problem.Problem) ([]byte, error) {
	r := x.c.Request
	if r.ContentLength > int64(limit) {
		x.header().Set("Connection", "close") // rather than reading what isn't wanted
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.c.Writer, r.Body, int64(limit)))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		s.setReadDeadline(x.c, time.Time{})
		x.sent = body
		return body, nil
	case errors.As(err, &over):
		x.header().Set("Connection", "close")
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.header().Set("Connection", "close")
		return nil, problem.New(http.StatusRequestTimeout, "body_timeout",
			fmt.Sprintf("the body did not arrive in time; allowed: %s", s.BodyTimeout))
	}
	x.header().Set("Connection", "close")
	return nil, problem.New(http.StatusBadRequest, "incomplete_body", "the body ended too early")
}

func tooLarge(code, what string, limit int) *problem.Problem {
	return problem.New(http.StatusRequestEntityTooLarge, code,
		fmt.Sprintf("the %s is too large; allowed: %d bytes", what, limit)).With("limit", limit)
}

// checkContent allows plain JSON only. That also keeps forms of other sites out, which can't send it unasked.
func checkContent(h http.Header) error {
	if encoding := strings.Join(h.Values("Content-Encoding"), ", "); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return unsupported("Content-Encoding", encoding, "a body that is not encoded")
	}
	const allowed = "application/json (in UTF-8)"
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return unsupported("Content-Type", strings.Join(types, ", "), allowed)
	}
	mediaType, options, err := mime.ParseMediaType(types[0])
	charset := options["charset"]
	if err != nil || mediaType != "application/json" || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return unsupported("Content-Type", types[0], allowed)
	}
	return nil
}

func unsupported(header, value, allowed string) error {
	is := "is missing"
	if value != "" {
		is = "is " + quoted(value)
	}
	return problem.New(http.StatusUnsupportedMediaType, "unsupported_media_type", header+" "+is+"; allowed: "+allowed)
}
