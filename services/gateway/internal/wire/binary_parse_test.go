package wire_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	doorbellv1 "github.com/doorbell-sync/doorbell/proto/doorbell/v1"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func marshal(t testing.TB, m *doorbellv1.ClientMessage) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func subscribe(id uint64, feeds map[string]string) *doorbellv1.ClientMessage {
	return &doorbellv1.ClientMessage{Id: id, Command: &doorbellv1.ClientMessage_Subscribe{Subscribe: &doorbellv1.Subscribe{Feeds: feeds}}}
}

func unsubscribe(feeds ...string) *doorbellv1.ClientMessage {
	return &doorbellv1.ClientMessage{Command: &doorbellv1.ClientMessage_Unsubscribe{Unsubscribe: &doorbellv1.Unsubscribe{Feeds: feeds}}}
}

// bytesField is a field with a length; the numbers are small enough for one byte.
func bytesField(number byte, parts ...string) string {
	content := strings.Join(parts, "")
	return string(protowire.AppendVarint([]byte{number<<3 | 2}, uint64(len(content)))) + content
}

func TestParseBinary(t *testing.T) {
	ping := func(n uint64) *doorbellv1.ClientMessage {
		return &doorbellv1.ClientMessage{Command: &doorbellv1.ClientMessage_Ping{Ping: n}}
	}
	for _, c := range []struct {
		message *doorbellv1.ClientMessage
		want    wire.Command
	}{
		{subscribe(300, map[string]string{"a": "0k3f9xa-1", "b": "", "c": "0k3f9xa-1~9"}),
			wire.Command{ID: []byte{0xac, 0x02}, Verb: wire.Subscribe, Feeds: []feed.Name{"a", "b", "c"}}},
		{subscribe(0, nil), wire.Command{Verb: wire.Subscribe}},
		{unsubscribe("a", "a"), wire.Command{Verb: wire.Unsubscribe, Feeds: []feed.Name{"a", "a"}}},
		{&doorbellv1.ClientMessage{Command: &doorbellv1.ClientMessage_Auth{Auth: "x"}}, wire.Command{Verb: wire.Auth, Token: "x"}},
		{ping(0), wire.Command{Verb: wire.Ping, Ping: []byte{0}}},
		{ping(1<<64 - 1), wire.Command{Verb: wire.Ping, Ping: protowire.AppendVarint(nil, 1<<64-1)}},
	} {
		message := marshal(t, c.message)
		got, err := wire.Proto.Parse(message, true)
		clear(message) // nothing of the command refers to it
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, %v", c.message, got, err)
		}
	}
}

func TestParseBinaryRefuses(t *testing.T) {
	const id = "\x08\x07"
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf("a:%d", i)
	}
	for name, c := range map[string]struct {
		message, code string
		words         []string
	}{
		"nothing":                 {"", "bad_command", []string{"no command", "subscribe (2)"}},
		"only an id":              {id, "bad_command", []string{"no command"}},
		"JSON":                    {`{"ping":1}`, "bad_command", []string{"malformed", "offset 0"}},
		"half a tag":              {id + "\x80", "bad_command", []string{"offset 2"}},
		"half a number":           {id + "\x28\x80", "bad_command", []string{"offset 2"}},
		"shorter than it says":    {id + "\x22\x7fabc", "bad_command", []string{"offset 2"}},
		"field 0":                 {id + "\x00\x00", "bad_command", []string{"offset 2"}},
		"a group without end":     {id + "\x4b", "bad_command", []string{"offset 2"}},
		"a field of nobody's":     {"\x30\x01\x28\x01" + id, "bad_command", []string{"unknown field 6", "ping (5)"}},
		"a name that is cut off":  {id + bytesField(2, bytesField(1, bytesField(1, "a"), "\x12\x7f")), "bad_command", []string{"an entry", "offset 9"}},
		"two commands":            {id + "\x28\x01" + bytesField(4, "x"), "bad_command", []string{"both ping and auth"}},
		"one command twice":       {id + bytesField(3, bytesField(1, "a")) + bytesField(3, bytesField(1, "b")), "bad_command", []string{"both unsubscribe and unsubscribe"}},
		"an id with a length":     {bytesField(1, "x") + "\x28\x01", "bad_command", []string{"id", "wire type 2"}},
		"a ping with a length":    {id + bytesField(5, "x"), "bad_command", []string{"ping", "wire type 2"}},
		"a subscribe of a number": {id + "\x10\x01", "bad_command", []string{"subscribe", "wire type 0"}},
		"no token":                {id + bytesField(4), "bad_command", []string{"auth", "empty"}},
		"a token of bytes":        {id + bytesField(4, "\xff"), "bad_command", []string{"auth", "UTF-8"}},
		"a bad name":              {id + bytesField(2, bytesField(1, bytesField(1, "Bad Name"))), "bad_command", []string{"Bad Name", "[a-z][a-z0-9_-]{0,31}"}},
		"a name of bytes":         {id + bytesField(3, bytesField(1, "a:\xff")), "bad_command", []string{"byte"}},
		"no name":                 {id + bytesField(2, bytesField(1)), "bad_command", []string{"empty"}},
		"a bad cursor":            {id + bytesField(2, bytesField(1, bytesField(1, "a"), bytesField(2, "0-1"))), "bad_command", []string{"cursor", "0k3f9xa-1042"}},
		"a feed twice":            {id + bytesField(2, bytesField(1, bytesField(1, "a")), bytesField(1, bytesField(1, "a"))), "bad_command", []string{`"a"`, "twice"}},
		"more in an entry":        {id + bytesField(2, bytesField(1, bytesField(1, "a"), bytesField(3, "x"))), "bad_command", []string{"unknown field 3"}},
		"more in a subscribe":     {id + bytesField(2, bytesField(2, "a")), "bad_command", []string{"unknown field 2 in subscribe"}},
		"more in an unsubscribe":  {id + bytesField(3, "\x10\x01"), "bad_command", []string{"unknown field 2 in unsubscribe"}},
		"too many feeds":          {id + string(marshal(t, unsubscribe(many...))), "too_many_feeds", []string{"1000"}},
	} {
		cmd, err := wire.Proto.Parse([]byte(c.message), true)
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Code != c.code {
			t.Errorf("%s: %+v, %v", name, cmd, err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(e.Detail, w) {
				t.Errorf("%s: the detail %q doesn't say %q", name, e.Detail, w)
			}
		}
		if strings.Contains(c.message, id) && !reflect.DeepEqual(cmd, wire.Command{ID: []byte{7}}) {
			t.Errorf("%s: %+v; want the id alone", name, cmd)
		}
	}
	if _, err := wire.Proto.Parse([]byte("\x28\x01"), false); err == nil {
		t.Error("text is taken")
	}
}

// FuzzParseBinary: no input panics; what is accepted means the same to the library, is within the limits, and can be answered;
// so can what is refused.
func FuzzParseBinary(f *testing.F) {
	for _, m := range []*doorbellv1.ClientMessage{
		subscribe(1, map[string]string{"prices:a": "0k3f9xa-1", "b": "", "c": "0k3f9xa-1~9"}), unsubscribe("a", "prices:b"), subscribe(0, nil),
		{Id: 1 << 40, Command: &doorbellv1.ClientMessage_Auth{Auth: "token"}}, {Command: &doorbellv1.ClientMessage_Ping{Ping: 7}},
	} {
		b := marshal(f, m)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(b, b...))
	}
	f.Add([]byte("\x4b\x4c\x28\x01"))
	f.Fuzz(func(t *testing.T, message []byte) {
		cmd, err := wire.ParseBinary(message)
		if err != nil {
			e, ok := errors.AsType[*wire.Error](err)
			if !ok || e.Code == "" || e.Detail == "" || len(e.Detail) > 600 || !utf8.ValidString(e.Detail) {
				t.Fatalf("error %#v", err)
			}
			answer(t, wire.Proto.AppendError(nil, cmd.ID, e))
			return
		}
		var m doorbellv1.ClientMessage
		if err := proto.Unmarshal(message, &m); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		var id uint64
		if cmd.ID != nil {
			id, _ = protowire.ConsumeVarint(cmd.ID)
		}
		if id != m.Id || len(cmd.Feeds) > wire.MaxFeeds {
			t.Errorf("%+v is not %v", cmd, &m)
		}
		switch cmd.Verb {
		case wire.Subscribe:
			feeds := m.GetSubscribe().GetFeeds()
			if len(feeds) != len(cmd.Feeds) {
				t.Errorf("%+v is not %v", cmd, &m)
			}
			for _, name := range cmd.Feeds {
				if _, ok := feeds[string(name)]; !ok {
					t.Errorf("%s is not in %v", name, &m)
				}
			}
			if got := answer(t, wire.Proto.AppendSubscribed(nil, cmd.ID, nil, denials(cmd.Feeds))); len(got.GetSubscribed().GetDenied()) != len(feeds) {
				t.Errorf("the answer is %v", got)
			}
		case wire.Unsubscribe:
			for i, name := range m.GetUnsubscribe().GetFeeds() {
				if string(cmd.Feeds[i]) != name {
					t.Errorf("%+v is not %v", cmd, &m)
				}
			}
			answer(t, wire.Proto.AppendUnsubscribed(nil, cmd.ID, cmd.Feeds))
		case wire.Auth:
			if cmd.Token == "" || m.GetAuth() != cmd.Token {
				t.Errorf("%+v is not %v", cmd, &m)
			}
		case wire.Ping:
			if got := answer(t, wire.Proto.AppendPong(nil, cmd.ID, cmd.Ping)); got.GetPong() != m.GetPing() || got.Id != m.Id {
				t.Errorf("the answer is %v", got)
			}
		default:
			t.Errorf("verb %q", cmd.Verb)
		}
	})
}

func answer(t *testing.T, b []byte) *doorbellv1.ServerMessage {
	t.Helper()
	var m doorbellv1.ServerMessage
	if err := proto.Unmarshal(b, &m); err != nil {
		t.Fatalf("the answer can't be read: %v", err)
	}
	return &m
}
