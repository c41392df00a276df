// Package page serves the live page: the index at "/", what it is made of at "/page/<file>".
//
// The files are part of the program and never change while it runs, so each has its headers worked out once: a
// strong ETag from its content, and no-cache, so that a browser asks again and after an upgrade never mixes the files
// of two versions.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed static/*.html static/*.css static/*.js
var static embed.FS

// policy lets the page load and reach nothing but this server. 'self' covers the WebSocket of the same host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes are spelled out because package mime asks the operating system, which may know better.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

// file is one embedded file. Static after construction.
type file struct {
	name        string
	content     []byte
	contentType string
	etag        string
}

// handler maps URL paths to files. Static after construction.
type handler map[string]*file

// Handler serves the page to GET and HEAD; other methods get 405, other paths 404. It panics when the embedded files
// are not what this package expects, which its test rules out.
func Handler() http.Handler {
	files, err := load(static)
	if err != nil {
		panic(err)
	}
	return files
}

func load(fsys fs.FS) (handler, error) {
	names, err := fs.Glob(fsys, "static/*")
	if err != nil {
		return nil, fmt.Errorf("page: listing the embedded files: %w", err)
	}
	files := handler{}
	for _, name := range names {
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("page: reading %s: %w", name, err)
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			return nil, fmt.Errorf("page: %s has no content type", name)
		}
		sum := sha256.Sum256(content)
		files[urlPath(path.Base(name))] = &file{
			name:        path.Base(name),
			content:     content,
			contentType: contentType,
			etag:        `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		}
	}
	if files["/"] == nil {
		return nil, fmt.Errorf("page: there is no index.html")
	}
	return files, nil
}

func urlPath(base string) string {
	if base == "index.html" {
		return "/"
	}
	return "/page/" + base
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	f := h[r.URL.Path]
	if f == nil {
		header.Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		header.Set("Cache-Control", "no-store")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", f.etag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.content))
}
