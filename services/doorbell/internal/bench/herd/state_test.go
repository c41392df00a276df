//go:build linux

package herd

import (
	"strings"
	"testing"
)

func mustParse(t *testing.T, body string, snapshot bool) *answer {
	t.Helper()
	a, err := parseAnswer([]byte(body), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestStatesAreSharedAndPutTogether(t *testing.T) {
	root := newState()
	page1 := mustParse(t, `{"cursor":"0k3f9xa-2~3","more":true,"items":[{"key":"a","seq":1,"value":1},{"key":"b","seq":2,"value":2}]}`, true)
	page2 := mustParse(t, `{"since":"0k3f9xa-2~3","cursor":"0k3f9xa-3","changes":[{"key":"a","seq":3,"deleted":true}]}`, false)
	delta := mustParse(t, `{"since":"0k3f9xa-3","cursor":"0k3f9xa-4","changes":[{"key":"c","seq":4,"value":4}]}`, false)
	one := root.apply(page1).apply(page2).apply(delta)
	if other := root.apply(page1).apply(page2).apply(delta); other != one {
		t.Error("who applies the same has a state of his own")
	}
	items := one.items()
	if len(items) != 2 || string(items["b"].Value) != "2" || items["c"].Seq != 4 {
		t.Errorf("the state is %v", items)
	}
	snapshot := mustParse(t, `{"cursor":"0k3f9xa-4","items":[{"key":"b","seq":2,"value":2},{"key":"c","seq":4,"value":4}]}`, true)
	whole := one.apply(snapshot)
	if whole != root.apply(snapshot) {
		t.Error("a snapshot doesn't replace what was before")
	}
	if d := difference(whole.items(), items); d != "" {
		t.Errorf("the two ways differ: %s", d)
	}
	for name, change := range map[string]func(map[string]change){
		"no item":         func(m map[string]change) { delete(m, "b"); m["x"] = change{} },
		"3 items":         func(m map[string]change) { m["x"] = change{} },
		"in the place of": func(m map[string]change) { m["b"] = change{Key: "b", Seq: 2, Value: []byte("3")} },
	} {
		got := one.items()
		change(got)
		if d := difference(got, items); !strings.Contains(d, name) {
			t.Errorf("the difference is %q; want %q", d, name)
		}
	}
}
