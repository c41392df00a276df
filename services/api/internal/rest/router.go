package rest

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/problem"
	"github.com/doorbell-sync/doorbell/services/api/internal/openapi"
)

// releaseMode keeps gin from printing routes; it is a global of gin's.
var releaseMode = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

// pollPath is where many feeds are polled at once.
const pollPath = "/v1/poll"

func (s *Server) routes() (http.Handler, error) {
	releaseMode()
	e := gin.New()
	// A path means what it says: nothing is redirected or cleaned. Matching the escaped path keeps %2F within a key;
	// it is unescaped here, once (gin would take '+' for a space, and with RawPath alone would sometimes see the path
	// unescaped already).
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.RemoveExtraSlash = false
	e.UseEscapedPath = true
	e.UnescapePathValues = false
	e.HandleMethodNotAllowed = true
	if err := e.SetTrustedProxies(s.TrustedProxies); err != nil {
		return nil, err
	}
	if s.Traces != nil {
		e.Use(s.traceRequest)
	}
	e.Use(s.recovery, s.bodyDeadline)
	other := s.counted("other")
	e.NoRoute(other, func(c *gin.Context) { s.fail(&exchange{c: c}, errNoRoute) })
	e.NoMethod(other, func(c *gin.Context) {
		allowed := strings.Split(c.Writer.Header().Get("Allow"), ", ")
		slices.Sort(allowed)
		s.fail(&exchange{c: c}, methodNotAllowed(c.Request.Method, allowed))
	})

	for path, methods := range map[string]map[string]gin.HandlerFunc{
		"/v1/feeds/:feed": {
			http.MethodGet:    s.readFeed(snapshotRead),
			http.MethodDelete: s.write(auth.Drop, s.dropFeed),
		},
		"/v1/feeds/:feed/changes": {
			http.MethodGet:  s.readFeed(changesRead),
			http.MethodPost: s.write(auth.Write, s.postChanges),
		},
		"/v1/feeds/:feed/touch": {
			http.MethodPost: s.write(auth.Write, s.touchFeed),
		},
		"/v1/feeds/:feed/items/:key": {
			http.MethodGet:    s.read(s.getItem),
			http.MethodPut:    s.write(auth.Write, s.putItem),
			http.MethodDelete: s.write(auth.Write, s.deleteItem),
		},
		pollPath: {
			http.MethodPost: s.plain(s.postPoll),
		},
		"/v1/heads": {
			http.MethodGet:  s.plain(s.getHeads),
			http.MethodPost: s.plain(s.postHeads),
		},
		"/v1/openapi.yaml": {
			http.MethodGet: gin.WrapF(openapi.ServeYAML),
		},
		openapi.PagePath: {
			http.MethodGet: gin.WrapF(openapi.ServePage),
		},
	} {
		count := s.counted(path)
		var allowed []string
		for method, handler := range methods {
			handler = s.limited(path, method, handler)
			e.Handle(method, path, count, handler)
			allowed = append(allowed, method)
			if method == http.MethodGet && path != "/v1/heads" {
				e.Handle(http.MethodHead, path, count, handler)
				allowed = append(allowed, http.MethodHead)
			}
		}
		allowed = append(allowed, http.MethodOptions)
		slices.Sort(allowed)
		e.OPTIONS(path, count, s.preflight(allowed))
	}
	return e, nil
}

var errNoRoute = problem.New(http.StatusNotFound, codeNotFound,
	"there is nothing at this path; a '/' within a key is written %2F, and paths have no '/' at their end")

func methodNotAllowed(method string, allowed []string) *problem.Problem {
	p := problem.New(http.StatusMethodNotAllowed, "method_not_allowed",
		quoted(method)+" can't be done here; allowed: "+strings.Join(allowed, ", "))
	p.Header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
	return p
}
