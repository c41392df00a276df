package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/doorbell-sync/doorbell/services/api/internal/openapi"
)

// description is what openapi.yaml says of each answer.
type description struct {
	doc      map[string]any
	compiler *jsonschema.Compiler

	mu sync.Mutex
	// Guarded by mu.
	schemas map[string]*jsonschema.Schema // by their place in the document
	seen    map[string]bool               // "GET /v1/heads 200"
}

var describe = sync.OnceValues(func() (*description, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(openapi.YAML, &doc); err != nil {
		return nil, err
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &description{doc: doc, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	return d, d.compiler.AddResource("mem:///openapi.json", plain)
})

// at gives a part of the document, going where $ref leads, and the place where it is.
func (d *description) at(place ...string) (map[string]any, []string) {
	var part any = d.doc
	for i, step := range place {
		m, ok := part.(map[string]any)
		if !ok {
			return nil, nil
		}
		if ref, ok := m["$ref"].(string); ok {
			return d.at(append(strings.Split(strings.TrimPrefix(ref, "#/"), "/"), place[i:]...)...)
		}
		part = m[step]
	}
	m, ok := part.(map[string]any)
	if !ok {
		return nil, nil
	}
	if ref, ok := m["$ref"].(string); ok {
		return d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return m, place
}

// schema compiles the one at a place.
func (d *description) schema(place []string) (*jsonschema.Schema, error) {
	var pointer strings.Builder
	for _, step := range place {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~", "~0"), "/", "~1")
		pointer.WriteString("/" + strings.NewReplacer("{", "%7B", "}", "%7D", "+", "%2B").Replace(step))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.schemas[pointer.String()]; s != nil {
		return s, nil
	}
	s, err := d.compiler.Compile("mem:///openapi.json#" + pointer.String())
	if err == nil {
		d.schemas[pointer.String()] = s
	}
	return s, err
}

// template is the path of the document that a request's path is one of; "" for none.
func template(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	switch {
	case path == "/v1/heads", path == "/v1/poll", path == "/v1/openapi.yaml":
		return path
	case parts[0] != "feeds" || len(parts) < 2:
		return ""
	case len(parts) == 2:
		return "/v1/feeds/{feed}"
	case len(parts) == 3 && (parts[2] == "changes" || parts[2] == "touch"):
		return "/v1/feeds/{feed}/" + parts[2]
	case len(parts) == 4 && parts[2] == "items" && parts[3] != "":
		return "/v1/feeds/{feed}/items/{key}"
	}
	return ""
}

// conforms holds an answer against the description.
func conforms(req *http.Request, res *http.Response, body string) error {
	d, err := describe()
	if err != nil {
		return err
	}
	status := strconv.Itoa(res.StatusCode)
	path := template(req.URL.EscapedPath())
	operation, _ := d.at("paths", path, strings.ToLower(req.Method))
	if req.URL.Path == openapi.PagePath {
		return nil
	}
	if operation == nil { // preflights, and the two answers to what there isn't
		switch res.StatusCode {
		case http.StatusNoContent:
			return nil
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusForbidden:
			return d.fits([]string{"components", "schemas", "Problem"}, body)
		}
		return fmt.Errorf("%s %s has no description", req.Method, req.URL.Path)
	}
	response, place := d.at("paths", path, strings.ToLower(req.Method), "responses", status)
	if response == nil {
		return fmt.Errorf("%s %s: %s is not described", req.Method, path, status)
	}
	d.mu.Lock()
	d.seen[req.Method+" "+path+" "+status] = true
	d.mu.Unlock()
	if err := d.headersFit(place, res.Header); err != nil {
		return fmt.Errorf("%s %s: %s: %w", req.Method, path, status, err)
	}
	if req.Method == http.MethodHead || res.StatusCode == http.StatusNotModified {
		if body != "" && res.StatusCode < http.StatusBadRequest { // net/http drops those of HEAD; a recorder doesn't
			return fmt.Errorf("%s %s: %s has a body", req.Method, path, status)
		}
		return nil
	}
	mediaType, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if _, has := d.at(append(slices.Clone(place), "content", mediaType)...); has == nil {
		return fmt.Errorf("%s %s: %s: %q is not described", req.Method, path, status, mediaType)
	}
	if encoding := res.Header.Get("Content-Encoding"); encoding != "" || mediaType == "application/yaml" {
		return nil
	}
	if err := d.fits(append(slices.Clone(place), "content", mediaType, "schema"), body); err != nil {
		return fmt.Errorf("%s %s: %s: %w", req.Method, path, status, err)
	}
	return nil
}

// fits holds JSON against the schema at a place.
func (d *description) fits(place []string, body string) error {
	schema, err := d.schema(place)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %.200s", err, body)
	}
	return schema.Validate(value)
}

// headersFit: all headers but those of HTTP itself are described, and are what is said of them.
func (d *description) headersFit(place []string, h http.Header) error {
	described, _ := d.at(append(slices.Clone(place), "headers")...)
	names := map[string]string{}
	for name := range described {
		names[http.CanonicalHeaderKey(name)] = name
	}
	for name, values := range h {
		switch name {
		case "Content-Type", "Content-Length", "Content-Encoding", "Connection", "Date":
			continue
		}
		own, ok := names[name]
		if !ok {
			return fmt.Errorf("the header %s is not described", name)
		}
		_, at := d.at(append(slices.Clone(place), "headers", own)...)
		schema, err := d.schema(append(slices.Clone(at), "schema"))
		if err != nil {
			return err
		}
		for _, value := range values {
			if err := schema.Validate(value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// unseen are the answers of the API that are described, and that no test has had.
func (d *description) unseen() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	paths, _ := d.at("paths")
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if strings.HasPrefix(path, "/v1/admin/") { // package admin's
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(d.seen)), func(one string) bool { return strings.Contains(one, " "+path+" ") }) {
			continue // it isn't served here yet
		}
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
			responses, _ := d.at("paths", path, strings.ToLower(method), "responses")
			for _, status := range slices.Sorted(maps.Keys(responses)) {
				if one := method + " " + path + " " + status; !d.seen[one] {
					all = append(all, one)
				}
			}
		}
	}
	return all
}

// TestTheDescriptionIsSelfContained: every $ref leads somewhere, and each schema can be compiled.
func TestTheDescriptionIsSelfContained(t *testing.T) {
	d, err := describe()
	if err != nil {
		t.Fatal(err)
	}
	var walk func(place []string, v any)
	walk = func(place []string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if found, _ := d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...); found == nil {
					t.Errorf("%s at %v leads nowhere", ref, place)
				}
			}
			for name, child := range v {
				if name == "schema" {
					if _, err := d.schema(append(slices.Clone(place), name)); err != nil {
						t.Errorf("%v: %v", place, err)
					}
				}
				walk(append(slices.Clone(place), name), child)
			}
		case []any:
			for i, child := range v {
				walk(append(slices.Clone(place), strconv.Itoa(i)), child)
			}
		}
	}
	walk(nil, d.doc)
}

// TestConformsBites: what isn't as it is described is found out.
func TestConformsBites(t *testing.T) {
	get, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/feeds/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(status int, h http.Header) *http.Response { return &http.Response{StatusCode: status, Header: h} }
	const good = `{"feed":"a","cursor":"0k3f9xa-1","more":false,"items":[]}`
	json := func(more ...string) http.Header {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	if err := conforms(get, answer(200, json("Doorbell-Cursor", "0k3f9xa-1")), good); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"a further member":       conforms(get, answer(200, json()), strings.Replace(good, `"more"`, `"less":1,"more"`, 1)),
		"a cursor that is none":  conforms(get, answer(200, json()), strings.Replace(good, "0k3f9xa-1", "1", 1)),
		"a status of others":     conforms(get, answer(410, json()), good),
		"a header of others":     conforms(get, answer(200, json("X-Debug", "1")), good),
		"a header that is wrong": conforms(get, answer(200, json("Doorbell-Cursor", "1")), good),
		"another type":           conforms(get, answer(200, http.Header{"Content-Type": {"text/plain"}}), good),
		"a problem's code":       conforms(get, answer(404, http.Header{"Content-Type": {"application/problem+json"}}), `{"type":"about:blank","title":"x","status":404,"code":"new"}`),
	} {
		if err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

// reportUnseen says which described answers the whole suite has not had; too few tests, or too much described.
func reportUnseen(w io.Writer) bool {
	d, err := describe()
	if err != nil {
		fmt.Fprintln(w, err)
		return false
	}
	for _, one := range d.unseen() {
		fmt.Fprintln(w, "openapi.yaml describes an answer that no test has had:", one)
	}
	return len(d.unseen()) == 0
}
