// Package openapi is the description of the API, written by hand: for programs as it is (openapi.yaml), for people as a page.
//
// The test suite of package api holds every answer against it.
package openapi

import (
	"crypto/sha256"
	_ "embed" // openapi.yaml
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// PagePath is where the page is.
const PagePath = "/docs"

// YAML is the description, OpenAPI 3.1.
//
//go:embed openapi.yaml
var YAML []byte

// ServeYAML answers with the description.
func ServeYAML(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*") // for tools in browsers
	serve(w, r, "application/yaml", YAML)
}

// page is rendered once, when somebody asks.
var page = sync.OnceValues(func() ([]byte, error) { return render(YAML) })

// ServePage answers with the page. It loads nothing from elsewhere, and runs nothing.
func ServePage(w http.ResponseWriter, r *http.Request) {
	body, err := page()
	if err != nil { // openapi.yaml is a part of this binary, and a test has seen it rendered
		http.Error(w, "the page can't be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	serve(w, r, "text/html; charset=utf-8", body)
}

func serve(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may be gone
	}
}
