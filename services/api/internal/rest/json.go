package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/doorbell-sync/doorbell/pkg/problem"
)

const (
	// maxDepth is how deep a value may nest. maxNesting bounds the recursion on what isn't a value, or isn't known to be
	// one yet.
	maxDepth   = 64
	maxNesting = 1000
)

// parser goes through one JSON text. Duplicate keys, invalid UTF-8 and the like are errors anywhere in it. All errors are
// problems that say where: "changes[3].key", "" for the whole.
type parser struct {
	body []byte
	dec  *jsontext.Decoder
}

func newParser(body []byte) (*parser, error) {
	if offset, ok := depthWithin(body, maxNesting); !ok {
		return nil, tooDeep("", offset)
	}
	return &parser{body: body, dec: jsontext.NewDecoder(bytes.NewBuffer(body))}, nil
}

// end makes sure that nothing follows.
func (p *parser) end() error {
	rest := bytes.TrimLeft(p.body[p.dec.InputOffset():], " \t\r\n")
	if len(rest) == 0 {
		return nil
	}
	return malformed("something follows the JSON value", int64(len(p.body)-len(rest)))
}

// object reads an object and calls member for each of its members, which has to read the value.
func (p *parser) object(where string, member func(name string) error) error {
	if err := p.expect('{', where, "an object"); err != nil {
		return err
	}
	for p.dec.PeekKind() != '}' {
		token, err := p.dec.ReadToken()
		if err != nil {
			return p.syntax(err)
		}
		if err := member(token.String()); err != nil {
			return err
		}
	}
	_, err := p.dec.ReadToken()
	return p.syntax(err)
}

// array reads an array and calls element for each of its elements, which has to read it.
func (p *parser) array(where string, element func(i int) error) error {
	if err := p.expect('[', where, "an array"); err != nil {
		return err
	}
	for i := 0; p.dec.PeekKind() != ']'; i++ {
		if p.dec.PeekKind() == 0 {
			_, err := p.dec.ReadToken()
			return p.syntax(err)
		}
		if err := element(i); err != nil {
			return err
		}
	}
	_, err := p.dec.ReadToken()
	return p.syntax(err)
}

func (p *parser) expect(kind jsontext.Kind, where, what string) error {
	if found := p.dec.PeekKind(); found != kind && found != 0 {
		return badBody(where, "is not "+what)
	}
	_, err := p.dec.ReadToken()
	return p.syntax(err)
}

func (p *parser) string(where string) (string, error) {
	if found := p.dec.PeekKind(); found != '"' && found != 0 {
		return "", badBody(where, "is not a string")
	}
	token, err := p.dec.ReadToken()
	if err != nil {
		return "", p.syntax(err)
	}
	return token.String(), nil
}

// text reads a string, or a number as it is written.
func (p *parser) text(where string) (string, error) {
	if p.dec.PeekKind() != '0' {
		return p.string(where)
	}
	token, err := p.dec.ReadToken()
	if err != nil {
		return "", p.syntax(err)
	}
	return token.String(), nil
}

func (p *parser) bool(where string) (bool, error) {
	if found := p.dec.PeekKind(); found != 't' && found != 'f' && found != 0 {
		return false, badBody(where, "is not true or false")
	}
	token, err := p.dec.ReadToken()
	if err != nil {
		return false, p.syntax(err)
	}
	return token.Bool(), nil
}

// value reads any value of at most `most` bytes and gives its text just as it was sent, a part of the body.
func (p *parser) value(where string, most int) ([]byte, error) {
	value, err := p.dec.ReadValue()
	if err != nil {
		return nil, p.syntax(err)
	}
	end := p.dec.InputOffset()
	raw := p.body[end-int64(len(value)) : end : end]
	if len(raw) > most {
		return nil, tooLarge("value_too_large", "value", most).With("where", where)
	}
	if offset, ok := depthWithin(raw, maxDepth); !ok {
		return nil, tooDeep(where, end-int64(len(raw))+offset)
	}
	return raw, nil
}

// syntax turns the decoder's error into a problem; nil stays nil.
func (p *parser) syntax(err error) error {
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF) && len(bytes.TrimSpace(p.body)) == 0:
		return malformed("the body is empty", 0)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("the JSON ends too early", int64(len(p.body)))
	case !errors.As(err, &syntax):
		return malformed("the body is not JSON", p.dec.InputOffset())
	case errors.Is(err, jsontext.ErrDuplicateName):
		where := place(syntax.JSONPointer.Parent())
		return problem.New(http.StatusBadRequest, "duplicate_key",
			fmt.Sprintf("the key %s comes twice in %s", quoted(syntax.JSONPointer.LastToken()), orBody(where))).
			With("where", where).With("key", shortened(syntax.JSONPointer.LastToken())).With("offset", syntax.ByteOffset)
	case syntax.Err == nil:
		return malformed("the body is not JSON", syntax.ByteOffset)
	}
	return malformed(syntax.Err.Error(), syntax.ByteOffset)
}

func malformed(what string, offset int64) error {
	return problem.New(http.StatusBadRequest, "malformed_json", fmt.Sprintf("%s (at byte %d)", what, offset)).With("offset", offset)
}

func tooDeep(where string, offset int64) error {
	return problem.New(http.StatusBadRequest, "too_deep", fmt.Sprintf("%s nests too deep; allowed: %d levels", orBody(where), maxDepth)).
		With("where", where).With("offset", offset)
}

func badBody(where, problemText string) error {
	return problem.New(http.StatusBadRequest, "bad_body", orBody(where)+" "+problemText).With("where", where)
}

func unknownField(where, name string, known ...string) error {
	full := shortened(name)
	if where != "" {
		full = where + "." + full
	}
	allowed := "no members"
	if len(known) > 0 {
		allowed = strings.Join(known, ", ")
	}
	return problem.New(http.StatusBadRequest, "unknown_field",
		fmt.Sprintf("%s has the unknown member %s; allowed: %s", orBody(where), quoted(name), allowed)).
		With("where", full).With("field", shortened(name))
}

func orBody(where string) string {
	if where == "" {
		return "the body"
	}
	return where
}

// depthWithin tells whether the JSON text nests at most so many levels, and where it goes beyond. It says
// nothing about the text otherwise.
func depthWithin(text []byte, most int) (offset int64, ok bool) {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return int64(i), false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return 0, true
}

// place writes a pointer in the way that all problems name places: changes[3].value.
func place(pointer jsontext.Pointer) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 32); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shortened(token))
	}
	return shortened(b.String())
}

// shortened cuts what somebody sent to what fits a message.
func shortened(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
