package redisbus

import (
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// absent is the head of a feed that doesn't exist, in a key and in a signal.
const absent = "-"

func headText(c feed.Cursor) string {
	if c.IsZero() {
		return absent
	}
	return c.String()
}

// parseHead reads a head as it stands in a key or a signal. What is no head is not known.
func parseHead(s string) bus.Head {
	if s == absent {
		return bus.At(feed.Cursor{})
	}
	c, err := feed.ParseCursor(s)
	if err != nil || c.Walk() {
		return bus.Head{}
	}
	return bus.At(c)
}

// parseSignal reads a signal: a head, and behind a space the trace that it was published with. What is neither is not looked at,
// so that signals can be given more one day without getting lost on nodes that don't know of it.
func parseSignal(s string) (h bus.Head, trace string) {
	head, more, _ := strings.Cut(s, " ")
	if h = parseHead(head); h.Known && bus.IsTrace(more) {
		trace = more
	}
	return h, trace
}

// keys are the names of keys and channels.
type keys struct {
	head, due, signal, claim, node, kept string // begin a name that ends with {…}
	wanted, mark, probe, said            string
}

func newKeys(prefix string) keys {
	return keys{
		head: prefix + ":head:{", due: prefix + ":due:{", signal: prefix + ":signal:{",
		claim: prefix + ":claim:{", node: prefix + ":node:{",
		kept: prefix + ":kept:{", wanted: prefix + ":wanted", said: prefix + ":said", mark: prefix + ":mark",
		probe: prefix + ":probe",
	}
}

// in puts a name into the braces that a key or channel ends with.
func in(begin, name string) string { return begin + name + "}" }

// signalled is the feed whose channel it is.
func (k *keys) signalled(channel string) (feed.Name, bool) {
	name, ok := strings.CutPrefix(channel, k.signal)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "}")
	return feed.Name(name), ok
}

// question asks for the heads of up to 1,000 feeds.
type question struct {
	id    string // of no other question; lower-case letters and digits
	reply string // the channel that "done" goes to
	names []feed.Name
}

func (q question) String() string {
	var s strings.Builder
	s.WriteString(q.id)
	s.WriteByte(' ')
	s.WriteString(q.reply)
	for _, name := range q.names {
		s.WriteByte(' ')
		s.WriteString(string(name))
	}
	return s.String()
}

// parseQuestion reads a question strictly; there is none with a feed that can't exist.
func (k *keys) parseQuestion(s string) (question, bool) {
	id, rest, ok := strings.Cut(s, " ")
	if !ok || !isID(id) {
		return question{}, false
	}
	reply, rest, ok := strings.Cut(rest, " ")
	node, begins := strings.CutPrefix(reply, k.node)
	node, ends := strings.CutSuffix(node, "}")
	if !ok || !begins || !ends || !isID(node) {
		return question{}, false
	}
	texts := strings.SplitN(rest, " ", batch+1)
	if len(texts) > batch {
		return question{}, false
	}
	q := question{id: id, reply: reply, names: make([]feed.Name, len(texts))}
	for i, text := range texts {
		name, err := feed.ParseName(text)
		if err != nil {
			return question{}, false
		}
		q.names[i] = name
	}
	return q, true
}

// What is said on a line's own channel.
const (
	pulse = "pulse " // and when it was sent
	done  = "done "  // and the id of a question
)

// maxID is the longest an id may be, in bytes.
const maxID = 64

func isID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
