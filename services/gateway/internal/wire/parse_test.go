package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]wire.Command{
		`{"id":1,"subscribe":{"prices:a":"0k3f9xa-1","orders":null,"b":""}}`: {
			ID: []byte("1"), Verb: wire.Subscribe, Feeds: []feed.Name{"prices:a", "orders", "b"},
		},
		`{"unsubscribe":["a","a"],"id":"\u00e9"}`: {ID: []byte(`"\u00e9"`), Verb: wire.Unsubscribe, Feeds: []feed.Name{"a", "a"}},
		`{"auth":"x\ny"}`:                         {Verb: wire.Auth, Token: "x\ny"},
		"\t{\"ping\" : -0.5e9 }":                  {Verb: wire.Ping, Ping: []byte("-0.5e9")},
	} {
		got, err := wire.Parse([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestParseKeepsNothingOfTheMessage(t *testing.T) {
	message := []byte(`{"id":"abc","subscribe":{"prices:a":""}}`)
	cmd, err := wire.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	clear(message)
	if string(cmd.ID) != `"abc"` || cmd.Feeds[0] != "prices:a" {
		t.Errorf("%+v", cmd)
	}
}

func TestErrorsStayShortAndPrintable(t *testing.T) {
	for _, text := range []string{
		`{"` + strings.Repeat("é", 5000) + `":1}`,
		`{"subscribe":{"` + strings.Repeat("é", 5000) + `":1}}`,
		`{"` + strings.Repeat("x", 5000) + `":1,"` + strings.Repeat("x", 5000) + `":1}`,
		"{\"\x01\xff",
	} {
		_, err := wire.Parse([]byte(text))
		if err == nil || len(err.Error()) > 600 {
			t.Errorf("%.40s…: %v", text, err)
		}
	}
}

// FuzzParse: no input panics; what is accepted means the same to another parser, is within the limits, and can be
// answered; so can what is refused.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		cmd, err := wire.Parse(message)
		if len(cmd.ID) > wire.MaxID {
			t.Errorf("an id of %d bytes", len(cmd.ID))
		}
		if err != nil {
			e, ok := errors.AsType[*wire.Error](err)
			if !ok || e.Code == "" || e.Detail == "" || len(e.Detail) > 600 || !utf8.ValidString(e.Detail) {
				t.Fatalf("error %#v", err)
			}
			answerable(t, wire.AppendError(nil, cmd.ID, e))
			return
		}
		var m struct {
			ID          json.RawMessage
			Subscribe   map[feed.Name]*string
			Unsubscribe []feed.Name
			Auth        *string
			Ping        json.RawMessage
		}
		decoder := json.NewDecoder(bytes.NewReader(message))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&m); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		if len(cmd.Feeds) > wire.MaxFeeds || !bytes.Equal(m.ID, cmd.ID) {
			t.Errorf("%+v is not %+v", cmd, m)
		}
		for _, name := range cmd.Feeds {
			if _, err := feed.ParseName(string(name)); err != nil {
				t.Error(err)
			}
		}
		switch cmd.Verb {
		case wire.Subscribe:
			if len(m.Subscribe) != len(cmd.Feeds) {
				t.Errorf("%d feeds of %d", len(cmd.Feeds), len(m.Subscribe))
			}
			answerable(t, wire.AppendSubscribed(nil, cmd.ID, nil, denials(cmd.Feeds)))
		case wire.Unsubscribe:
			if len(m.Unsubscribe) != len(cmd.Feeds) {
				t.Errorf("%d feeds of %d", len(cmd.Feeds), len(m.Unsubscribe))
			}
			answerable(t, wire.AppendUnsubscribed(nil, cmd.ID, cmd.Feeds))
		case wire.Auth:
			if m.Auth == nil || *m.Auth != cmd.Token || cmd.Token == "" {
				t.Errorf("token %q", cmd.Token)
			}
		case wire.Ping:
			answerable(t, wire.AppendPong(nil, cmd.ID, cmd.Ping))
		default:
			t.Errorf("verb %q", cmd.Verb)
		}
	})
}

func answerable(t *testing.T, message []byte) {
	t.Helper()
	if !json.Valid(message) {
		t.Errorf("the answer is not JSON: %s", message)
	}
}

func denials(feeds []feed.Name) []wire.Denial {
	all := make([]wire.Denial, len(feeds))
	for i, name := range feeds {
		all[i] = wire.Denial{Feed: name, Reason: wire.Forbidden}
	}
	return all
}
