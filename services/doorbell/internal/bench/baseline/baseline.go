// Package baseline is what the API is held against: a Gin that does nothing but answer from variables, or park requests.
//
// It is run by `doorbell bench baseline`, which reads a [Config] as JSON from standard input and serves until that ends.
package baseline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Command names the hidden command that runs it: `doorbell bench baseline`.
const Command = "baseline"

// Park is the path of requests that are answered when [Release] is asked for; both with GET.
const (
	Park    = "/park"
	Release = "/release"
)

// Answer is what a path is answered with.
type Answer struct {
	Status int
	Type   string
	// Fields are further header fields.
	Fields map[string]string
	Body   []byte
}

// Config says what is served, and where.
type Config struct {
	Listen  string
	Answers map[string]Answer
	// Parked is the answer to parked requests.
	Parked Answer
}

// Run serves until in ends.
func Run(in io.Reader) error {
	var c Config
	lines := json.NewDecoder(in)
	if err := lines.Decode(&c); err != nil {
		return fmt.Errorf("read what to serve: %w", err)
	}
	server := &http.Server{Addr: c.Listen, Handler: handler(c), ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(lines.Buffered(), in)) // whatever ends it
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func handler(c Config) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	for path, a := range c.Answers {
		engine.GET(path, func(c *gin.Context) { a.write(c) })
	}
	var g gate
	g.shut()
	engine.GET(Park, func(ctx *gin.Context) {
		if g.wait(ctx.Request.Context()) {
			c.Parked.write(ctx)
		}
	})
	engine.GET(Release, func(c *gin.Context) {
		g.shut()
		c.Status(http.StatusOK)
	})
	engine.GET("/healthz", func(c *gin.Context) { c.Status(http.StatusOK) })
	return engine
}

func (a Answer) write(c *gin.Context) {
	for name, value := range a.Fields {
		c.Header(name, value)
	}
	if len(a.Body) == 0 {
		c.Status(a.Status)
		return
	}
	c.Data(a.Status, a.Type, a.Body)
}

// gate holds requests back. It is safe for concurrent use.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // guarded by mu
}

// shut lets everybody through who waits, and nobody who comes after.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
	}
	g.open = make(chan struct{})
}

func (g *gate) wait(ctx context.Context) bool {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}
