package page

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func serve(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestEveryFileIsServed(t *testing.T) {
	names, err := fs.Glob(static, "static/*")
	if err != nil || len(names) < 3 {
		t.Fatalf("embedded files: %v, %v", names, err)
	}
	for _, name := range names {
		target := urlPath(path.Base(name))
		w := serve(http.MethodGet, target)
		want, _ := fs.ReadFile(static, name)
		if w.Code != http.StatusOK || w.Body.String() != string(want) {
			t.Errorf("GET %s: status %d, %d bytes; want 200, %d bytes", target, w.Code, w.Body.Len(), len(want))
		}
		for key, want := range map[string]string{
			"Content-Type":            contentTypes[path.Ext(name)],
			"Cache-Control":           "no-cache",
			"Content-Security-Policy": policy,
			"X-Content-Type-Options":  "nosniff",
		} {
			if got := w.Header().Get(key); got != want {
				t.Errorf("GET %s: %s is %q; want %q", target, key, got, want)
			}
		}
		etag := w.Header().Get("ETag")
		if !regexp.MustCompile(`^"[\w-]{16}"$`).MatchString(etag) {
			t.Errorf("GET %s: ETag %q is not strong", target, etag)
		}
		if w := serve(http.MethodGet, target, "If-None-Match", etag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("GET %s with its ETag: status %d, %d bytes; want 304 and none", target, w.Code, w.Body.Len())
		}
		if w := serve(http.MethodHead, target); w.Code != http.StatusOK || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: status %d, %d bytes; want 200 and none", target, w.Code, w.Body.Len())
		}
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	for _, target := range []string{"/page/", "/page/index.html", "/page/page.go", "/page/nothing.js", "/page/../page.go", "/index.html"} {
		if w := serve(http.MethodGet, target); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d; want 404", target, w.Code)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := serve(method, "/")
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s /: status %d, Allow %q; want 405 and GET, HEAD", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// The policy allows neither inline code nor other hosts, so the files must not count on them; and whatever they name
// must be there.
func TestFilesKeepToThePolicy(t *testing.T) {
	banned := regexp.MustCompile(`(?i)<script(?:>|[^>]*[^>]>[^<])|\sstyle=|\son[a-z]+="|(?:src|href)="(?:https?:)?//|@import|innerHTML|eval\(`)
	named := regexp.MustCompile(`(?:src|href)="(/[^"]*)"|from "\./([^"]+)"`)
	files, err := load(static)
	if err != nil {
		t.Fatal(err)
	}
	for target, f := range files {
		if at := banned.FindString(string(f.content)); at != "" {
			t.Errorf("%s has %q, which the policy refuses", target, strings.TrimSpace(at))
		}
		for _, m := range named.FindAllStringSubmatch(string(f.content), -1) {
			to := m[1]
			if to == "" {
				to = "/page/" + m[2]
			}
			if files[to] == nil {
				t.Errorf("%s names %s, which is not served", target, to)
			}
		}
	}
}

func TestLoadRefusesWhatItCannotServe(t *testing.T) {
	for problem, fsys := range map[string]fstest.MapFS{
		"no index":     {"static/a.js": {}},
		"unknown type": {"static/index.html": {}, "static/a.exe": {}},
	} {
		if _, err := load(fsys); err == nil {
			t.Errorf("%s: no error", problem)
		}
	}
}
