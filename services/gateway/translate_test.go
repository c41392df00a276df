package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	doorbellv1 "github.com/doorbell-sync/doorbell/proto/doorbell/v1"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// translator lets a client of doorbell.v1.proto be spoken to in JSON, so that one test does for both: whatever the JSON says
// must be known from the binary messages alone. It is a client of its own: it has the feeds' numbers, and their epochs.
type translator struct {
	t     testing.TB
	marks []string // ids and pings as the test wrote them; the number on the wire is the place here, and 1
	names map[uint32]string
	heads map[string]feed.Cursor // the last that were told
	size  int                    // of the last message, in bytes
}

// dialBinary is dial over doorbell.v1.proto.
func (h *harness) dialBinary(token string) *client {
	h.t.Helper()
	header := http.Header{"Sec-Websocket-Protocol": {"doorbell.v1.proto"}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	c := h.open(header)
	if got := c.Subprotocol(); got != "doorbell.v1.proto" {
		h.t.Fatalf("the subprotocol is %q", got)
	}
	c.binary = &translator{t: h.t, names: map[uint32]string{}, heads: map[string]feed.Cursor{}}
	c.hello()
	return c
}

// dialers are the ways to open a connection.
func (h *harness) dialers() map[string]func(token string) *client {
	return map[string]func(string) *client{"json": h.dial, "proto": h.dialBinary}
}

func (r *translator) mark(raw json.RawMessage) uint64 {
	r.marks = append(r.marks, string(raw))
	return uint64(len(r.marks))
}

// command translates, with the feeds in their order.
func (r *translator) command(text string) []byte {
	r.t.Helper()
	var m struct {
		ID, Subscribe, Ping json.RawMessage
		Unsubscribe         *[]string
		Auth                *string
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	var out doorbellv1.ClientMessage
	if m.ID != nil {
		out.Id = r.mark(m.ID)
	}
	var more []byte
	switch {
	case m.Subscribe != nil:
		more = protowire.AppendTag(nil, 2, protowire.BytesType)
		more = protowire.AppendBytes(more, r.entries(m.Subscribe))
	case m.Unsubscribe != nil:
		out.Command = &doorbellv1.ClientMessage_Unsubscribe{Unsubscribe: &doorbellv1.Unsubscribe{Feeds: *m.Unsubscribe}}
	case m.Auth != nil:
		out.Command = &doorbellv1.ClientMessage_Auth{Auth: *m.Auth}
	case m.Ping != nil:
		out.Command = &doorbellv1.ClientMessage_Ping{Ping: r.mark(m.Ping)}
	}
	b, err := proto.Marshal(&out)
	if err != nil {
		r.t.Fatal(err)
	}
	return append(b, more...)
}

func (r *translator) entries(object json.RawMessage) []byte {
	var b []byte
	dec := json.NewDecoder(bytes.NewReader(object))
	_, _ = dec.Token()
	for dec.More() {
		name, _ := dec.Token()
		cursor, err := dec.Token()
		if err != nil {
			r.t.Fatal(err)
		}
		entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name.(string))
		if text, _ := cursor.(string); text != "" {
			entry = protowire.AppendString(protowire.AppendTag(entry, 2, protowire.BytesType), text)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), entry)
	}
	return b
}

// message translates back.
func (r *translator) message(kind int, b []byte) string {
	r.size = len(b)
	var m doorbellv1.ServerMessage
	if err := proto.Unmarshal(b, &m); err != nil || kind != websocket.BinaryMessage {
		r.t.Errorf("frame %d %x: %v", kind, b, err)
		return ""
	}
	id := ""
	if m.Id != 0 {
		id = `"id":` + r.marks[m.Id-1] + ","
	}
	if m.Feed != 0 {
		return `{"changed":{` + r.signal(m.Feed, m.Seq) + `}}`
	}
	switch what := m.What.(type) {
	case *doorbellv1.ServerMessage_Hello:
		return fmt.Sprintf(`{"hello":{"session":%q,"ping_ms":%d}}`, what.Hello.Session, what.Hello.PingMs)
	case *doorbellv1.ServerMessage_Subscribed:
		text := "{" + id + `"subscribed":{` + r.whole(what.Subscribed.Heads) + "}"
		if len(what.Subscribed.Denied) > 0 {
			text += `,"denied":` + why(what.Subscribed.Denied)
		}
		return text + "}"
	case *doorbellv1.ServerMessage_Unsubscribed:
		names, _ := json.Marshal(append([]string{}, what.Unsubscribed.Feeds...)) //nolint:errchkjson // strings always marshal
		return "{" + id + `"unsubscribed":` + string(names) + "}"
	case *doorbellv1.ServerMessage_Denied:
		return "{" + id + `"denied":` + why(what.Denied.Feeds) + "}"
	case *doorbellv1.ServerMessage_Changed:
		var all []string
		for _, s := range what.Changed.Signals {
			all = append(all, r.signal(s.Feed, s.Seq))
		}
		if len(what.Changed.Heads) > 0 {
			all = append(all, r.whole(what.Changed.Heads))
		}
		return `{"changed":{` + strings.Join(all, ",") + `}}`
	case *doorbellv1.ServerMessage_Degraded:
		return fmt.Sprintf(`{"degraded":%t}`, what.Degraded)
	case *doorbellv1.ServerMessage_Goaway:
		return fmt.Sprintf(`{"goaway":{"reason":%q,"in_ms":%d}}`, what.Goaway.Reason, what.Goaway.InMs)
	case *doorbellv1.ServerMessage_Expiring:
		return fmt.Sprintf(`{"expiring":{"in_ms":%d}}`, what.Expiring.InMs)
	case *doorbellv1.ServerMessage_Pong:
		return "{" + id + `"pong":` + r.marks[what.Pong-1] + "}"
	case *doorbellv1.ServerMessage_Error:
		detail, _ := json.Marshal(what.Error.Detail) //nolint:errchkjson // likewise
		return fmt.Sprintf(`{%s"error":{"code":%q,"detail":%s}}`, id, what.Error.Code, detail)
	}
	r.t.Errorf("a message that the test doesn't know: %v", &m)
	return ""
}

// signal is a seq in the epoch of the last full cursor.
func (r *translator) signal(number uint32, seq uint64) string {
	name := r.names[number]
	c := r.heads[name]
	if name == "" || c.Epoch == 0 || seq <= uint64(c.Seq) {
		r.t.Errorf("seq %d of feed %d, which is %q at %q", seq, number, name, c)
	}
	c.Seq = int64(seq)
	r.heads[name] = c
	return fmt.Sprintf("%q:%q", name, c)
}

func (r *translator) whole(heads []*doorbellv1.Head) string {
	all := make([]string, len(heads))
	for i, h := range heads {
		if h.Name != "" {
			r.names[h.Feed] = h.Name
		}
		name := r.names[h.Feed]
		c, err := feed.ParseOptionalCursor(h.Cursor)
		if err != nil || name == "" || h.Feed == 0 {
			r.t.Errorf("head %v: %v", h, err)
		}
		r.heads[name] = c
		if all[i] = fmt.Sprintf("%q:%q", name, h.Cursor); h.Unknown {
			all[i] = fmt.Sprintf("%q:null", name)
		}
	}
	return strings.Join(all, ",")
}

func why(denied map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(denied)) {
		all = append(all, fmt.Sprintf("%q:%q", name, denied[name]))
	}
	return "{" + strings.Join(all, ",") + "}"
}
