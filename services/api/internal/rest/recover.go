package rest

import (
	"errors"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// recovery turns a panic into a 500, or where the answer is already under way into a broken connection: the client must
// not take half an answer for a whole one.
func (s *Server) recovery(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p) // net/http's own way to break off
		}
		s.Logger.Error("panic in a request", "method", c.Request.Method, "path", c.Request.URL.Path,
			"panic", p, "stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		c.Abort()
		s.fail(&exchange{c: c}, errInternal)
	}()
	c.Next()
}

var errInternal = problem.New(http.StatusInternalServerError, codeInternal, "something went wrong here; it has been logged")
