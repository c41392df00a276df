//go:build linux

package herd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// A crowd pulls the same bytes from the same URLs, so it has few states, however many clients there are: an answer is read once
// for all that got it, and a state is the state before it and that answer. In the end each state that a client has is
// put together and compared with the truth.

// answer is the body of a read, read.
type answer struct {
	Since  string   `json:"since"`
	Cursor string   `json:"cursor"`
	More   bool     `json:"more"`
	Items  []change `json:"items"`
	Delta  []change `json:"changes"`

	body     []byte
	at       wire.Cursor
	snapshot bool // the path of a snapshot, no delta
}

type change struct {
	Key     string          `json:"key"`
	Seq     int64           `json:"seq"`
	Value   json.RawMessage `json:"value"`
	Deleted bool            `json:"deleted"`
}

func parseAnswer(body []byte, snapshot bool) (*answer, error) {
	a := &answer{body: bytes.Clone(body), snapshot: snapshot}
	if err := json.Unmarshal(a.body, a); err != nil {
		return nil, fmt.Errorf("an answer: %w: %.100s", err, body)
	}
	var ok bool
	if a.at, ok = wire.ParseCursor([]byte(a.Cursor)); !ok {
		return nil, fmt.Errorf("an answer's cursor is %q", a.Cursor)
	}
	return a, nil
}

// state is what a client has: what it had before, and the answer that it applied to that. They are shared and never change, but for
// next. The root has neither.
type state struct {
	before *state
	answer *answer
	next   map[*answer]*state
}

func newState() *state { return &state{next: map[*answer]*state{}} }

// apply gives the state after an answer, the same one for all who apply it to this one.
func (s *state) apply(a *answer) *state {
	if a.snapshot { // it replaces everything
		for s.before != nil {
			s = s.before
		}
	}
	after := s.next[a]
	if after == nil {
		after = &state{before: s, answer: a, next: map[*answer]*state{}}
		s.next[a] = after
	}
	return after
}

// items puts the state together.
func (s *state) items() map[string]change {
	var answers []*answer
	for ; s.answer != nil; s = s.before {
		answers = append(answers, s.answer)
		if s.answer.snapshot {
			break
		}
	}
	items := map[string]change{}
	for _, a := range slices.Backward(answers) {
		for _, changes := range [][]change{a.Items, a.Delta} {
			for _, c := range changes {
				if c.Deleted {
					delete(items, c.Key)
				} else {
					items[c.Key] = c
				}
			}
		}
	}
	return items
}

// difference says how two states differ, "": they don't.
func difference(got, want map[string]change) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d items in the place of %d", len(got), len(want))
	}
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			return fmt.Sprintf("no item %q", key)
		}
		if g.Seq != w.Seq || !bytes.Equal(g.Value, w.Value) {
			return fmt.Sprintf("%q is %s (%d) in the place of %s (%d)", key, g.Value, g.Seq, w.Value, w.Seq)
		}
	}
	return ""
}
