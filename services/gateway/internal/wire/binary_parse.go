package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// The numbers of fields, as signals.proto has them.
const (
	// Of ServerMessage.
	fieldFeed protowire.Number = 1
	fieldSeq  protowire.Number = 2
	// Of ClientMessage.
	fieldID          protowire.Number = 1
	fieldSubscribe   protowire.Number = 2
	fieldUnsubscribe protowire.Number = 3
	fieldAuth        protowire.Number = 4
	fieldPing        protowire.Number = 5
	// Of Subscribe, and of Unsubscribe.
	fieldFeeds protowire.Number = 1
	// Of an entry of a map.
	fieldKey   protowire.Number = 1
	fieldValue protowire.Number = 2
)

const fields = "id (1), and one of subscribe (2), unsubscribe (3), auth (4), ping (5)"

// ParseBinary reads a ClientMessage, as [Parse] reads JSON. It is stricter than Protocol Buffers ask for: what isn't known is
// refused and not skipped, and there is one command, with each feed once.
func ParseBinary(message []byte) (Command, error) {
	p := binaryParser{message: message}
	p.fields("the message", message, p.member)
	if p.wrong == nil && p.cmd.Verb == "" {
		p.fail(Errorf(BadCommand, "the message has no command; allowed: %s", fields))
	}
	if p.wrong != nil {
		return Command{ID: p.cmd.ID}, p.wrong
	}
	return p.cmd, nil
}

// binaryParser reads one message to its end, also after something was wrong with it: the id may come last. Where the message
// can't be read on, it stops.
type binaryParser struct {
	message []byte
	cmd     Command
	named   map[feed.Name]struct{} // what a subscribe has named so far
	wrong   error                  // the first thing that is
}

func (p *binaryParser) fail(err error) {
	if p.wrong == nil {
		p.wrong = err
	}
}

// field is one field of a message: number is set for a varint, bytes for what has a length.
type field struct {
	protowire.Number
	protowire.Type
	number uint64
	bytes  []byte
}

// fields calls each with every field of part, which lies within the message, and tells whether it could be read to its end.
func (p *binaryParser) fields(what string, part []byte, each func(field)) bool {
	for len(part) > 0 {
		number, kind, n := protowire.ConsumeTag(part)
		f := field{Number: number, Type: kind}
		if n >= 0 {
			switch rest := part[n:]; kind {
			case protowire.VarintType:
				var m int
				f.number, m = protowire.ConsumeVarint(rest)
				n = sum(n, m)
			case protowire.BytesType:
				var m int
				f.bytes, m = protowire.ConsumeBytes(rest)
				n = sum(n, m)
			default: // nothing of ours; a group is as deep as the library lets it be
				n = sum(n, protowire.ConsumeFieldValue(number, kind, rest))
			}
		}
		if n < 0 {
			p.fail(Errorf(BadCommand, "%s is malformed in the field at offset %d", what, p.offset(part)))
			return false
		}
		part = part[n:]
		each(f)
	}
	return true
}

// sum is that of two lengths; below 0: an error.
func sum(n, m int) int {
	if m < 0 {
		return m
	}
	return n + m
}

// offset is where part begins: what is read are always the message's own bytes, and none are appended to.
func (p *binaryParser) offset(part []byte) int { return cap(p.message) - cap(part) }

func (p *binaryParser) member(f field) {
	switch {
	case f.Number == fieldID:
		if p.expect(f, "id", protowire.VarintType) && f.number != 0 {
			p.cmd.ID = protowire.AppendVarint(nil, f.number)
		}
	case f.Number == fieldSubscribe && p.begin(f, Subscribe, protowire.BytesType):
		p.fields("subscribe", f.bytes, p.subscribe)
	case f.Number == fieldUnsubscribe && p.begin(f, Unsubscribe, protowire.BytesType):
		p.fields("unsubscribe", f.bytes, p.unsubscribe)
	case f.Number == fieldAuth && p.begin(f, Auth, protowire.BytesType):
		switch {
		case len(f.bytes) == 0:
			p.fail(Errorf(BadCommand, "auth is empty; allowed: a token"))
		case !utf8.Valid(f.bytes):
			p.fail(Errorf(BadCommand, "auth is not UTF-8; allowed: a token"))
		default:
			p.cmd.Token = string(f.bytes)
		}
	case f.Number == fieldPing && p.begin(f, Ping, protowire.VarintType):
		p.cmd.Ping = protowire.AppendVarint(nil, f.number)
	case f.Number > fieldPing:
		p.fail(Errorf(BadCommand, "unknown field %d; allowed: %s", f.Number, fields))
	}
}

// begin notes the message's command, and tells whether it can be read.
func (p *binaryParser) begin(f field, verb Verb, want protowire.Type) bool {
	if p.cmd.Verb != "" {
		p.fail(Errorf(BadCommand, "the message has both %s and %s; allowed: one command a message", p.cmd.Verb, verb))
		return false
	}
	p.cmd.Verb = verb
	return p.expect(f, string(verb), want)
}

func (p *binaryParser) expect(f field, what string, want protowire.Type) bool {
	if f.Type != want {
		p.fail(Errorf(BadCommand, "%s is of wire type %d; allowed: %d", what, f.Type, want))
		return false
	}
	return true
}

// subscribe reads one entry of the map: a name, and where the client says it is. It is told every head whatever it says, so
// the cursor is only checked.
func (p *binaryParser) subscribe(f field) {
	if !p.isFeeds(f, "subscribe") {
		return
	}
	var name, cursor []byte
	ok := p.fields("an entry of subscribe", f.bytes, func(f field) {
		switch {
		case f.Number != fieldKey && f.Number != fieldValue:
			p.fail(Errorf(BadCommand, "unknown field %d in an entry of subscribe; allowed: a name (1) and a cursor (2)", f.Number))
		case !p.expect(f, "an entry's name or cursor", protowire.BytesType):
		case f.Number == fieldKey:
			name = f.bytes
		default:
			cursor = f.bytes
		}
	})
	if !ok {
		return
	}
	if _, err := feed.ParseOptionalCursor(string(cursor)); err != nil {
		p.fail(Errorf(BadCommand, `%s; or "" for nothing`, err))
	}
	if _, twice := p.named[feed.Name(name)]; twice {
		p.fail(Errorf(BadCommand, "the feed %s comes twice in one subscribe", quote(string(name))))
	}
	if p.feed(name) {
		if p.named == nil {
			p.named = make(map[feed.Name]struct{})
		}
		p.named[p.cmd.Feeds[len(p.cmd.Feeds)-1]] = struct{}{}
	}
}

func (p *binaryParser) unsubscribe(f field) {
	if p.isFeeds(f, "unsubscribe") {
		p.feed(f.bytes)
	}
}

func (p *binaryParser) isFeeds(f field, what string) bool {
	if f.Number != fieldFeeds {
		p.fail(Errorf(BadCommand, "unknown field %d in %s; allowed: feeds (1)", f.Number, what))
		return false
	}
	return p.expect(f, "feeds", protowire.BytesType)
}

// feed adds a feed to the command, and tells whether it has.
func (p *binaryParser) feed(text []byte) bool {
	if p.wrong != nil {
		return false // nothing is kept of what is refused anyway
	}
	name, err := feed.ParseName(string(text))
	switch {
	case err != nil:
		p.fail(Errorf(BadCommand, "%s", err))
	case len(p.cmd.Feeds) == MaxFeeds:
		p.fail(Errorf(TooManyFeeds, "the command has more than %d feeds; allowed: up to %d a command", MaxFeeds, MaxFeeds))
	default:
		p.cmd.Feeds = append(p.cmd.Feeds, name)
		return true
	}
	return false
}
