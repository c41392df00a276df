package doorbell

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadURLs(t *testing.T) {
	tests := []struct {
		since string
		o     ReadOptions
		want  string
	}{
		{"", ReadOptions{}, "/v1/feeds/a:b"},
		{"", ReadOptions{AtLeast: "0k00001-7"}, "/v1/feeds/a:b?at_least=0k00001-7"},
		{"", ReadOptions{Limit: 5}, "/v1/feeds/a:b?limit=5"},
		{"0k00001-3~9", ReadOptions{}, "/v1/feeds/a:b/changes?since=0k00001-3~9"},
		{"1042", ReadOptions{}, "/v1/feeds/a:b/changes?since=1042"},
		{"0k00001-3", ReadOptions{AtLeast: "0k00001-7", Limit: 20}, "/v1/feeds/a:b/changes?since=0k00001-3&at_least=0k00001-7&limit=20"},
		{"0k00001-3", ReadOptions{Limit: 1000}, "/v1/feeds/a:b/changes?since=0k00001-3"},
		{"a&b", ReadOptions{}, "/v1/feeds/a:b/changes?since=a%26b"},
	}
	for _, test := range tests {
		if got, err := pageURL("a:b", test.since, test.o); err != nil || got != test.want {
			t.Errorf("got %s, %v; want %s", got, err, test.want)
		}
	}
}

func TestReads(t *testing.T) {
	r := &recorder{
		header: http.Header{"Doorbell-Poll-After": {"2.5"}},
		answer: `{"feed":"a","since":"0k00001-1","cursor":"0k00001-4","more":true,"trimmed":2,
			"changes":[{"key":"halt","seq":3,"deleted":true},{"key":"last","seq":4,"value":{"p": "<1>",  "n":1.0}}]}`,
	}
	c := record(t, r)
	p, err := c.Changes(t.Context(), "a", "0k00001-1", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Page{
		Feed: "a", Since: "0k00001-1", Cursor: "0k00001-4", More: true, Trimmed: 2, PollAfter: 2500 * time.Millisecond,
		Changes: []Change{{Key: "halt", Seq: 3, Deleted: true}, {Key: "last", Seq: 4, Value: []byte(`{"p": "<1>",  "n":1.0}`)}},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v", p)
	}

	r.answer = `{"feed":"a","key":"x/é","seq":3,"cursor":"0k00001-3","value":[ 1 ]}`
	item, err := c.Item(t.Context(), "a", "x/é")
	if err != nil || item.Seq != 3 || item.Cursor != "0k00001-3" || string(item.Value) != "[ 1 ]" || r.uri != "/base/v1/feeds/a/items/x%2F%C3%A9" {
		t.Errorf("got %+v, %v from %s", item, err, r.uri)
	}

	r.answer = `{"heads":{"a":"0k00001-4","b":"","c":null}}`
	heads, err := c.Heads(t.Context(), "a", "b", "c")
	if err != nil || r.body != `{"feeds":["a","b","c"]}` {
		t.Errorf("sent %s: %v", r.body, err)
	}
	if !maps.Equal(heads, map[string]Head{"a": {"0k00001-4", true}, "b": {"", true}, "c": {}}) {
		t.Errorf("got %v", heads)
	}

	for _, answer := range []string{``, `<html>`, `[]`, `{}`, `{"cursor":"7"}`, `{"cursor":"0k00001-01"}`} {
		r.answer = answer
		if _, err := c.Snapshot(t.Context(), "a", ReadOptions{}); err == nil {
			t.Errorf("%s was taken for a page", answer)
		}
	}
	r.status, r.answer = 304, ""
	if _, err := c.Snapshot(t.Context(), "a", ReadOptions{}); err == nil {
		t.Error("a 304 was taken for a page")
	}
}

func TestLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		c, _ := serve(t, f)
		if state, err := c.Load(t.Context(), feedX); err != nil || state.Cursor != "" || len(state.Items) != 0 {
			t.Fatal(state, err)
		}
		f.pageSize = 3
		for i := range 10 {
			f.put(fmt.Sprint(i), `1`)
		}
		reads := 0
		f.fault = func(http.ResponseWriter, *http.Request) bool {
			switch reads++; reads {
			case 2:
				f.del("0")
				f.trim(2)
			case 3:
				f.drop() // meanwhile: begin again
				for i := range 5 {
					f.put(fmt.Sprint(i), `2`)
				}
			}
			return false
		}
		state, err := c.Load(t.Context(), feedX)
		if err != nil || len(state.Items) != 5 || state.Cursor != "0k00002-5" || string(state.Items["0"].Value) != "2" {
			t.Fatal(state, err)
		}

		// A feed that is reset all the time is an error in the end.
		f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.RequestURI, "since") {
				f.drop()
				for i := range 5 {
					f.put(fmt.Sprint(i), `2`)
				}
			}
			return false
		}
		if _, err := c.Load(t.Context(), feedX); !IsCode(err, "reset") {
			t.Fatal(err)
		}
		synctest.Wait()
	})
}

func TestCursors(t *testing.T) {
	ordered := []string{"", "0k00000-9", "0k00001-0", "0k00001-2", "0k00001-10", "0k0000a-1", "zzzzzzz-9223372036854775807"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got, err := CompareCursors(a, b); err != nil || got != want {
				t.Errorf("%q and %q: %d, %v", a, b, got, err)
			}
		}
	}
	for _, bad := range []string{
		"7", "-", "0k00001", "0k00001-", "0k00001-01", "0k00001--1", "0k00001-+1", "0K00001-1", "0k0001-1", "0k000001-1",
		"0k00001-9223372036854775808", "0k00001-1~", "0k00001-1~0", "0k00001-1~02", "0k00001-1~2~3", "0k00001-1 ", "0k0000é-1",
	} {
		if _, err := CompareCursors("0k00001-1", bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
		if _, err := CompareCursors(bad, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	walk, err := parseCursor("0k00001-500~1043")
	if err != nil || walk.seq != 500 || walk.base != 1043 {
		t.Fatal(walk, err)
	}
	at, _ := parseCursor("0k00001-1043")
	later, _ := parseCursor("0k00001-1044")
	if !walk.covers(at) || walk.covers(later) || walk.compare(at) >= 0 {
		t.Error("a walk covers its base and nothing later")
	}
	if seq, ok := parseSeq("9223372036854775807"); !ok || seq != math.MaxInt64 {
		t.Error("the largest seq was refused")
	}
}

func TestState(t *testing.T) {
	var s State
	for _, e := range []Event{
		{Kind: Reset},
		{Kind: Changed, Change: Change{Key: "a", Seq: 1, Value: []byte(`1`)}},
		{Kind: Changed, Change: Change{Key: "b", Seq: 2, Value: []byte(`1`)}},
		{Kind: Changed, Change: Change{Key: "c", Seq: 3, Value: []byte(`1`)}},
		{Kind: Changed, Change: Change{Key: "b", Seq: 4, Deleted: true}},
		{Kind: Changed, Change: Change{Key: "never", Seq: 5, Deleted: true}, Cursor: "0k00001-5"},
		{Kind: Trimmed, Trimmed: 2, Cursor: "0k00001-5"},
		{Kind: CaughtUp, Cursor: "0k00001-6"},
	} {
		s.Apply(e)
	}
	if len(s.Items) != 1 || s.Items["c"].Seq != 3 || s.Cursor != "0k00001-6" {
		t.Errorf("got %+v", s)
	}
	s.Apply(Event{Kind: Reset})
	if len(s.Items) != 0 || s.Cursor != "" {
		t.Errorf("after a reset: %+v", s)
	}
}
