package openapi

import (
	"bytes"
	_ "embed" // page.html
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed page.html
var pageHTML string

// document is what the page shows of the description.
type document struct {
	Info struct {
		Title, Version, Summary, Description string
	}
	Tags       []tag
	Paths      ordered[pathItem]
	Components struct {
		Parameters ordered[parameter]
		Responses  ordered[response]
		Headers    ordered[header]
		Schemas    ordered[yaml.Node]
	}
}

type tag struct {
	Name, Description string
	Operations        []operation `yaml:"-"`
}

type pathItem struct {
	Parameters                   []parameter
	Get, Post, Put, Delete, Head *operation
}

type operation struct {
	Tags                             []string
	OperationID                      string `yaml:"operationId"` //nolint:tagliatelle // OpenAPI's name
	Summary, Description             string
	Parameters                       []parameter
	RequestBody                      *body `yaml:"requestBody"` //nolint:tagliatelle // OpenAPI's name
	Responses                        ordered[response]
	Security                         []map[string][]string
	Method, Path                     string `yaml:"-"`
	Head                             bool   `yaml:"-"` // HEAD does, too
	BodySchema, BodyExample          string `yaml:"-"`
	AnswerExample, AnswerExampleName string `yaml:"-"`
}

type body struct{ Content map[string]media }

type media struct {
	Schema   yaml.Node
	Examples ordered[struct{ Value yaml.Node }]
}

type parameter struct {
	Ref                   string `yaml:"$ref"`
	Name, In, Description string
	Required              bool
	Schema                yaml.Node
}

type response struct {
	Ref         string `yaml:"$ref"`
	Description string
	Headers     ordered[header]
	Content     map[string]media
}

type header struct {
	Ref         string `yaml:"$ref"`
	Description string
}

// ordered is a mapping in the order that it is written in.
type ordered[T any] []entry[T]

type entry[T any] struct {
	Name  string
	Value T
}

func (o *ordered[T]) UnmarshalYAML(n *yaml.Node) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: not a mapping", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := entry[T]{Name: n.Content[i].Value}
		if err := n.Content[i+1].Decode(&e.Value); err != nil {
			return err
		}
		*o = append(*o, e)
	}
	return nil
}

func (o ordered[T]) find(ref string) (T, error) {
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	for _, e := range o {
		if e.Name == name {
			return e.Value, nil
		}
	}
	var none T
	return none, fmt.Errorf("%s leads nowhere", ref)
}

// render makes the page of the description.
func render(text []byte) ([]byte, error) {
	var d document
	if err := yaml.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	for _, path := range d.Paths {
		if err := d.addPath(path.Name, path.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Name, err)
		}
	}
	t, err := template.New("page").Funcs(template.FuncMap{"prose": prose, "line": line, "kind": kind, "schemas": d.schemas}).Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, d)
	return b.Bytes(), err
}

// addPath puts the operations of a path where they are shown: below their tags.
func (d *document) addPath(path string, item pathItem) error {
	for _, one := range []struct {
		method string
		op     *operation
	}{{"GET", item.Get}, {"POST", item.Post}, {"PUT", item.Put}, {"DELETE", item.Delete}} {
		if one.op == nil {
			continue
		}
		op := *one.op
		op.Method, op.Path, op.Head = one.method, path, one.method == "GET" && item.Head != nil
		op.Parameters = slices.Concat(item.Parameters, op.Parameters)
		for i, p := range op.Parameters {
			if p.Ref == "" {
				continue
			}
			var err error
			if op.Parameters[i], err = d.Components.Parameters.find(p.Ref); err != nil {
				return err
			}
		}
		for i, r := range op.Responses {
			if r.Value.Ref == "" {
				continue
			}
			var err error
			if op.Responses[i].Value, err = d.Components.Responses.find(r.Value.Ref); err != nil {
				return err
			}
		}
		op.examples()
		for i := range d.Tags {
			if d.Tags[i].Name == op.Tags[0] {
				d.Tags[i].Operations = append(d.Tags[i].Operations, op)
			}
		}
	}
	return nil
}

// examples takes the first of the body's and of the answers'.
func (op *operation) examples() {
	if op.RequestBody != nil {
		for _, m := range op.RequestBody.Content {
			if len(m.Examples) > 0 {
				op.BodyExample = asJSON(m.Examples[0].Value.Value)
			}
		}
	}
	for _, r := range op.Responses {
		for _, m := range r.Value.Content {
			if len(m.Examples) > 0 && op.AnswerExample == "" {
				op.AnswerExample, op.AnswerExampleName = asJSON(m.Examples[0].Value.Value), r.Name
			}
		}
	}
}

// asJSON is a value in the order that it is written in.
func asJSON(n yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var parts []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, quote(n.Content[i].Value)+": "+asJSON(*n.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		var parts []string
		for _, child := range n.Content {
			parts = append(parts, asJSON(*child))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default: // a scalar
		switch n.Tag {
		case "!!int", "!!float", "!!bool", "!!null":
			return n.Value
		}
		return quote(n.Value)
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s) //nolint:errchkjson // a string always marshals
	return string(b)
}

// kind says in a few words what a schema allows.
func kind(n yaml.Node) string {
	var s struct {
		Ref              string `yaml:"$ref"`
		Type             string
		Const            *string
		Minimum, Maximum *string
		Default          *string
		Items            *yaml.Node
		Examples         []string
	}
	if n.Decode(&s) != nil {
		return ""
	}
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Const != nil:
		return "`" + *s.Const + "`"
	}
	text := s.Type
	if s.Items != nil {
		text += " of " + kind(*s.Items)
	}
	if s.Minimum != nil && s.Maximum != nil {
		text += " " + *s.Minimum + " to " + *s.Maximum
	}
	if s.Default != nil {
		text += ", default " + *s.Default
	}
	if len(s.Examples) > 0 {
		text += ", such as `" + s.Examples[0] + "`"
	}
	return text
}

// shown is a schema as the page has it.
type shown struct {
	Name, Description string
	Pattern           string
	Members           []member
	Constants         []member
}

type member struct {
	Name, Kind, Description string
	Required                bool
}

// schemas are those that have something to say.
func (d *document) schemas() ([]shown, error) {
	var all []shown
	for _, e := range d.Components.Schemas {
		var s struct {
			Description, Pattern string
			Required             []string
			Properties           ordered[yaml.Node]
			OneOf                []struct{ Const, Description string } `yaml:"oneOf"` //nolint:tagliatelle // OpenAPI's name
		}
		if err := e.Value.Decode(&s); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		one := shown{Name: e.Name, Description: s.Description, Pattern: s.Pattern}
		for _, p := range s.Properties {
			var about struct{ Description string }
			if err := p.Value.Decode(&about); err != nil {
				return nil, err
			}
			one.Members = append(one.Members, member{p.Name, kind(p.Value), about.Description, slices.Contains(s.Required, p.Name)})
		}
		for _, c := range s.OneOf {
			if c.Const != "" {
				one.Constants = append(one.Constants, member{Name: c.Const, Description: c.Description})
			}
		}
		all = append(all, one)
	}
	return all, nil
}

var (
	code   = regexp.MustCompile("`([^`]+)`")
	strong = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// line is a sentence with its `code`.
func line(s string) template.HTML {
	s = html.EscapeString(strings.TrimSpace(s))
	s = code.ReplaceAllString(s, "<code>$1</code>")
	return template.HTML(strong.ReplaceAllString(s, "<strong>$1</strong>")) //nolint:gosec // it was escaped
}

// prose is paragraphs.
func prose(s string) template.HTML {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(s), "\n\n") {
		if paragraph != "" {
			b.WriteString("<p>" + string(line(paragraph)) + "</p>")
		}
	}
	return template.HTML(b.String()) //nolint:gosec // line has escaped it
}
