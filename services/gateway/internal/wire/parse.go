package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Verb tells commands apart.
type Verb string

// The commands, each by its member's name.
const (
	Subscribe   Verb = "subscribe"
	Unsubscribe Verb = "unsubscribe"
	Auth        Verb = "auth"
	Ping        Verb = "ping"
)

const verbs = `"subscribe", "unsubscribe", "auth", "ping"`

// Command is what a client asks for.
type Command struct {
	// ID is the client's mark on the command, a JSON number or string as it was written, or a varint; nil: none.
	ID   []byte
	Verb Verb
	// Feeds is what to subscribe to (each once) or unsubscribe from.
	Feeds []feed.Name
	// Token is that of auth.
	Token string
	// Ping is the number to send back, as it was written, or a varint.
	Ping []byte
}

// Parse reads a command. The error is an [*Error]; the command then has its ID, if that could be read, and nothing
// else. Nothing in the command refers to message.
func Parse(message []byte) (Command, error) {
	if at := tooDeep(message); at >= 0 {
		return Command{}, Errorf(BadCommand, "the message is nested deeper than %d levels at offset %d", maxDepth, at)
	}
	p := parser{dec: jsontext.NewDecoder(bytes.NewBuffer(message))}
	if err := p.message(); err != nil {
		return Command{ID: p.cmd.ID}, syntax(err, len(message))
	}
	if p.wrong == nil && p.cmd.Verb == "" {
		p.fail(Errorf(BadCommand, "the message has no command; allowed: one of %s, and an id", verbs))
	}
	if p.wrong != nil {
		return Command{ID: p.cmd.ID}, p.wrong
	}
	return p.cmd, nil
}

// tooDeep finds where the message is nested too deep, without following it there; -1: nowhere. It may be wrong about a
// message that isn't JSON, which is refused anyway.
func tooDeep(message []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(message); i++ {
		switch c := message[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

// parser reads one message to its end, also after something was wrong with it: the id may come last.
type parser struct {
	dec   *jsontext.Decoder
	cmd   Command
	wrong error // the first thing that is
}

func (p *parser) fail(err error) {
	if p.wrong == nil {
		p.wrong = err
	}
}

// message returns errors of JSON's grammar only.
func (p *parser) message() error {
	if kind := p.dec.PeekKind(); kind != '{' {
		if err := p.dec.SkipValue(); err != nil {
			return err
		}
		p.fail(Errorf(BadCommand, "the message is %s; allowed: an object", kindName(kind)))
		return p.end()
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		if err := p.member(name.String()); err != nil {
			return err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	return p.end()
}

// end makes sure that nothing follows.
func (p *parser) end() error {
	at := p.dec.InputOffset()
	switch _, err := p.dec.ReadToken(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	p.fail(Errorf(BadCommand, "something follows the message after offset %d; allowed: one object a message", at))
	return nil
}

func (p *parser) member(name string) error {
	verb := Verb(name)
	switch {
	case name == "id":
		return p.id()
	case verb != Subscribe && verb != Unsubscribe && verb != Auth && verb != Ping:
		p.fail(Errorf(BadCommand, `unknown member %s; allowed: "id" and one of %s`, quote(name), verbs))
		return p.dec.SkipValue()
	case p.cmd.Verb != "":
		p.fail(Errorf(BadCommand, `the message has both %q and %q; allowed: one command a message`, p.cmd.Verb, verb))
		return p.dec.SkipValue()
	}
	p.cmd.Verb = verb
	switch verb {
	case Subscribe:
		return p.subscribe()
	case Unsubscribe:
		return p.unsubscribe()
	case Auth:
		return p.auth()
	default:
		return p.ping()
	}
}

func (p *parser) id() error {
	kind := p.dec.PeekKind()
	value, err := p.dec.ReadValue()
	switch {
	case err != nil:
		return err
	case kind != '"' && kind != '0':
		p.fail(Errorf(BadCommand, `"id" is %s; allowed: a number or a string`, kindName(kind)))
	case len(value) > MaxID:
		p.fail(Errorf(BadCommand, `"id" is %d bytes long; allowed: up to %d`, len(value), MaxID))
	default:
		p.cmd.ID = slices.Clone(value)
	}
	return nil
}

// expect skips a value that is of another kind.
func (p *parser) expect(verb Verb, want jsontext.Kind, allowed string) (bool, error) {
	kind := p.dec.PeekKind()
	if kind == want {
		return true, nil
	}
	if err := p.dec.SkipValue(); err != nil {
		return false, err
	}
	p.fail(Errorf(BadCommand, "%q is %s; allowed: %s", verb, kindName(kind), allowed))
	return false, nil
}

func (p *parser) subscribe() error {
	ok, err := p.expect(Subscribe, '{', `an object of feed names, each with the client's cursor, "" or null`)
	if !ok {
		return err
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		p.feed(name.String())
		if err := p.cursor(); err != nil {
			return err
		}
	}
	_, err = p.dec.ReadToken()
	return err
}

// cursor checks where the client says it is. It is told every head whatever it says, so nothing more is done with it.
func (p *parser) cursor() error {
	kind := p.dec.PeekKind()
	switch kind {
	case 'n', '"':
		token, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		if kind == '"' {
			if _, err := feed.ParseOptionalCursor(token.String()); err != nil {
				p.fail(Errorf(BadCommand, `%s; or "" or null for nothing`, err))
			}
		}
		return nil
	default:
		if err := p.dec.SkipValue(); err != nil {
			return err
		}
		p.fail(Errorf(BadCommand, `a cursor is %s; allowed: a cursor's text, "" or null`, kindName(kind)))
		return nil
	}
}

func (p *parser) unsubscribe() error {
	ok, err := p.expect(Unsubscribe, '[', "an array of feed names")
	if !ok {
		return err
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for p.dec.PeekKind() != ']' {
		if kind := p.dec.PeekKind(); kind != '"' {
			if err := p.dec.SkipValue(); err != nil {
				return err
			}
			p.fail(Errorf(BadCommand, "a feed name is %s; allowed: a string", kindName(kind)))
			continue
		}
		name, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		p.feed(name.String())
	}
	_, err = p.dec.ReadToken()
	return err
}

func (p *parser) feed(s string) {
	name, err := feed.ParseName(s)
	switch {
	case err != nil:
		p.fail(Errorf(BadCommand, "%s", err))
	case len(p.cmd.Feeds) == MaxFeeds:
		p.fail(Errorf(TooManyFeeds, "the command has more than %d feeds; allowed: up to %d a command", MaxFeeds, MaxFeeds))
	case p.wrong == nil:
		p.cmd.Feeds = append(p.cmd.Feeds, name)
	}
}

func (p *parser) auth() error {
	ok, err := p.expect(Auth, '"', "a token")
	if !ok {
		return err
	}
	token, err := p.dec.ReadToken()
	if err != nil {
		return err
	}
	if p.cmd.Token = token.String(); p.cmd.Token == "" {
		p.fail(Errorf(BadCommand, `"auth" is empty; allowed: a token`))
	}
	return nil
}

func (p *parser) ping() error {
	ok, err := p.expect(Ping, '0', "a number")
	if !ok {
		return err
	}
	value, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	if len(value) > MaxID {
		p.fail(Errorf(BadCommand, `"ping" is %d bytes long; allowed: up to %d`, len(value), MaxID))
		return nil
	}
	p.cmd.Ping = slices.Clone(value)
	return nil
}

// syntax puts an error of JSON's grammar into words.
func syntax(err error, length int) error {
	var at *jsontext.SyntacticError
	switch {
	case !errors.As(err, &at): // io.EOF: there was nothing
		return Errorf(BadCommand, "malformed JSON at offset %d: the message is empty; allowed: an object", length)
	case errors.Is(at.Err, jsontext.ErrDuplicateName):
		return Errorf(BadCommand, "malformed JSON at offset %d: the member %s comes twice in one object", at.ByteOffset,
			quote(at.JSONPointer.LastToken()))
	}
	return Errorf(BadCommand, "malformed JSON at offset %d: %s", at.ByteOffset,
		strings.TrimPrefix(at.Err.Error(), "jsontext: "))
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 'f', 't':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	case '{':
		return "an object"
	default:
		return "malformed"
	}
}
