package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func TestBadChanges(t *testing.T) {
	limits := policy.Default()
	limits.MaxBatch, limits.MaxValueBytes = 3, 200
	for _, tc := range []struct {
		body, code string
		where      string // or nothing said
		offset     int64  // -1: none
	}{
		{``, "malformed_json", "", 0},
		{`  `, "malformed_json", "", 0},
		{`{`, "malformed_json", "", 1},
		{`{"changes":[{"key":"a","value":1}]`, "malformed_json", "", 34},
		{`{"changes":[{"key":"a","value":1}]} x`, "malformed_json", "", 36},
		{`{"changes":[{"key":"a","value":1}]}{}`, "malformed_json", "", 35},
		{`{"changes":[{"key":"a","value":1},]}`, "malformed_json", "", 33},
		{`{"changes":[{"key":"a","value":01}]}`, "malformed_json", "", 32},
		{`{"changes":[{"key":"a","value":NaN}]}`, "malformed_json", "", 31},
		{`{'changes':[]}`, "malformed_json", "", 1},
		{"{\"changes\":[{\"key\":\"a\",\"value\":\"\x00\"}]}", "malformed_json", "", 32},
		{"{\"changes\":[{\"key\":\"a\",\"value\":\"\xff\"}]}", "malformed_json", "", 32},
		{`{"changes":[{"key":"a","value":"\ud800"}]}`, "malformed_json", "", 32},
		{"\xef\xbb\xbf{}", "malformed_json", "", 0},
		{`[]`, "bad_body", "", -1},
		{`null`, "bad_body", "", -1},
		{`{}`, "bad_body", "changes", -1},
		{`{"changes":[]}`, "bad_body", "changes", -1},
		{`{"changes":null}`, "bad_body", "changes", -1},
		{`{"changes":{}}`, "bad_body", "changes", -1},
		{`{"changes":[1]}`, "bad_body", "changes[0]", -1},
		{`{"changes":[{"value":1}]}`, "bad_body", "changes[0]", -1},
		{`{"changes":[{"key":"a"}]}`, "bad_body", "changes[0]", -1},
		{`{"changes":[{"key":"a","deleted":false}]}`, "bad_body", "changes[0]", -1},
		{`{"changes":[{"key":"a","value":1,"deleted":true}]}`, "bad_body", "changes[0]", -1},
		{`{"changes":[{"key":"a","deleted":1}]}`, "bad_body", "changes[0].deleted", -1},
		{`{"changes":[{"key":1,"value":1}]}`, "bad_body", "changes[0].key", -1},
		{`{"changes":[{"key":"a","value":1,"if":null}]}`, "bad_body", "changes[0].if", -1},
		{`{"changes":[{"key":"a","value":1,"if":"x"}]}`, "bad_cursor", "changes[0].if", -1},
		{`{"changes":[{"key":"a","value":1,"if":"0k3f9xa-1~2"}]}`, "bad_cursor", "changes[0].if", -1},
		{`{"changes":[{"key":"a","value":1},{"key":"","value":1}]}`, "bad_key", "changes[1].key", -1},
		{`{"changes":[{"key":".","value":1}]}`, "bad_key", "changes[0].key", -1},
		{`{"changes":[{"key":"..","value":1}]}`, "bad_key", "changes[0].key", -1},
		{`{"changes":[{"key":"a\u0000","value":1}]}`, "bad_key", "changes[0].key", -1},
		{`{"changes":[{"key":"` + strings.Repeat("k", 257) + `","value":1}]}`, "bad_key", "changes[0].key", -1},
		{`{"changes":[{"key":"a","value":1}],"more":1}`, "unknown_field", "more", -1},
		{`{"Changes":[{"key":"a","value":1}]}`, "unknown_field", "Changes", -1},
		{`{"changes":[{"key":"a","value":1},{"key":"a","value":1},{"key":"b","values":1}]}`, "unknown_field", "changes[2].values", -1},
		{`{"changes":[{"key":"a","value":1}],"changes":[]}`, "duplicate_key", "", 35},
		{`{"changes":[{"key":"a","key":"b","value":1}]}`, "duplicate_key", "changes[0]", 23},
		{`{"changes":[{"key":"a","value":{"x":[{"y":1,"y":2}]}}]}`, "duplicate_key", "changes[0].value.x[0]", 44},
		{`{"changes":[{"key":"a","value":{"x":1,"\u0078":2}}]}`, "duplicate_key", "changes[0].value", 38},
		{`{"changes":[{"key":"a","value":` + nested(65) + `}]}`, "too_deep", "changes[0].value", 31 + 64},
		{`{"changes":[{"key":"a","value":"` + strings.Repeat("x", 199) + `"}]}`, "value_too_large", "changes[0].value", -1},
		{`{"changes":[` + strings.Repeat(`{"key":"a","value":1},`, 3) + `{"key":"a","value":1}]}`, "batch_too_large", "", -1},
		{`{"changes":` + nested(20000) + `}`, "too_deep", "", 11 + 999},
	} {
		edits, err := parseChanges([]byte(tc.body), limits)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Code != tc.code || edits != nil {
			t.Errorf("%.100s\n got %v, %v; want %s", tc.body, edits, err, tc.code)
			continue
		}
		if where, _ := p.Extra["where"].(string); where != tc.where {
			t.Errorf("%.100s\n is at %q; want %q", tc.body, where, tc.where)
		}
		if offset, ok := p.Extra["offset"].(int64); ok != (tc.offset >= 0) || ok && offset != tc.offset {
			t.Errorf("%.100s\n has offset %v; want %d", tc.body, p.Extra["offset"], tc.offset)
		}
		if strings.Contains(p.Detail, "jsontext") {
			t.Errorf("%.100s\n says %s", tc.body, p.Detail)
		}
	}
}

func TestGoodChanges(t *testing.T) {
	values := []string{
		`1`, `null`, `"\u0000"`, `1e400`, `123456789012345678901234567890.10`, `-0`, "{ \"a\" :\t1 ,\n\"b\": [ ] }",
		`"<&>\u003c\/é\ud83d\ude00😀"`, nested(64), `{"a":{"a":{"a":1}}}`,
	}
	for _, value := range values {
		edits, err := parseChanges([]byte(` {"changes" : [ { "value" :  `+value+"\r\n"+` , "key":"a/b c","if":"" } , {"deleted":true,"if":"0k3f9xa-3","key":"é"} , {"key":"x","deleted":false,"value":0} ] } `), policy.Default())
		if err != nil || len(edits) != 3 {
			t.Fatalf("%s: %v, %v", value, edits, err)
		}
		if e := edits[0]; e.Key != "a/b c" || string(e.Value) != value || e.Deleted || e.If == nil || !e.If.IsZero() {
			t.Errorf("%s: %+v", value, e)
		}
		if e := edits[1]; e.Key != "é" || e.Value != nil || !e.Deleted || e.If == nil || e.If.Seq != 3 {
			t.Errorf("%+v", e)
		}
		if e := edits[2]; e.Key != "x" || string(e.Value) != "0" || e.Deleted || e.If != nil {
			t.Errorf("%+v", e)
		}
		raw, err := parseValue([]byte("\n "+value+" \t"), 1<<20)
		if err != nil || string(raw) != value {
			t.Errorf("%s: %s, %v", value, raw, err)
		}
	}
}

// FuzzChanges: whatever comes, what is accepted is JSON, within the limits, and part of the body byte for byte.
func FuzzChanges(f *testing.F) {
	for _, seed := range []string{
		`{"changes":[{"key":"last","value":{"p":"1"}},{"key":"halt","deleted":true,"if":""}]}`,
		`{"changes":[{"key":"a","value":{"x":1,"x":2}}]}`, `{"changes":[]}`, `{`, "{\"a\x00", nested(70), `{"changes":[{"key":"..","value":"\ud83d\ude00"}]}`,
	} {
		f.Add([]byte(seed))
	}
	limits := policy.Default()
	limits.MaxBatch, limits.MaxValueBytes = 5, 300
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		edits, err := parseChanges(body, limits)
		if !bytes.Equal(before, body) {
			t.Fatalf("the body was changed to %q", body)
		}
		if err != nil {
			checkProblem(t, err, len(body))
			return
		}
		if len(edits) < 1 || len(edits) > limits.MaxBatch || !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("accepted %q: %v", body, edits)
		}
		for _, e := range edits {
			checkEdit(t, e, body, limits)
		}
	})
}

func FuzzValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2,{"b":null}]}`, ` "x" `, `1 2`, ``, "\x00", nested(65), `{"a":1,"a":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		raw, err := parseValue(body, 300)
		if err != nil {
			checkProblem(t, err, len(body))
			return
		}
		if string(raw) != strings.Trim(string(body), " \t\r\n") || !json.Valid(body) || len(raw) > 300 {
			t.Fatalf("%q gave %q", body, raw)
		}
	})
}

func checkEdit(t *testing.T, e feed.Edit, body []byte, limits policy.Namespace) {
	t.Helper()
	switch {
	case feed.CheckKey(e.Key) != nil, e.Deleted == (e.Value != nil), len(e.Value) > limits.MaxValueBytes,
		e.Value != nil && (!json.Valid(e.Value) || !bytes.Contains(body, e.Value)), e.If != nil && e.If.Walk():
		t.Fatalf("accepted %+v", e)
	}
	if _, ok := depthWithin(e.Value, maxDepth); !ok {
		t.Fatalf("accepted a value too deep: %s", e.Value)
	}
}

func checkProblem(t *testing.T, err error, size int) {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) || (p.Status != 400 && p.Status != 413) || p.Detail == "" || len(p.Detail) > 1500 {
		t.Fatalf("%v", err)
	}
	if offset, ok := p.Extra["offset"].(int64); ok && (offset < 0 || offset > int64(size)) {
		t.Fatalf("offset %d of %d: %v", offset, size, err)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Fatal(err)
	}
}
