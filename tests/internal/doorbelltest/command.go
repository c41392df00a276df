package doorbelltest

import (
	"encoding/json"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// Result is what a command has left.
type Result struct {
	Code     int
	Out, Err string
}

// Shell runs commands as somebody does in a shell.
type Shell struct {
	Env []string // DOORBELL_URL=… and the like
	In  string   // standard input
}

// Run runs a command to its end.
func (s Shell) Run(tb testing.TB, args ...string) Result {
	tb.Helper()
	p, err := s.start(tb, args)
	if err != nil {
		tb.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(Patience):
		tb.Fatalf("doorbell %q does not end:\n%s%s", args, p.Out, p.Err)
	}
	return Result{p.ExitCode(), p.Out.String(), p.Err.String()}
}

// Start starts a command that goes on until it is stopped, at the latest with the test.
func (s Shell) Start(tb testing.TB, args ...string) *process.Process {
	tb.Helper()
	p, err := s.start(tb, args)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("standard error of doorbell %q:\n%s", args, p.Err)
		}
	})
	return p
}

func (s Shell) start(tb testing.TB, args []string) (*process.Process, error) {
	tb.Helper()
	p, err := process.Start(Binary(tb), args, process.Options{Env: s.Env, In: s.In})
	if err == nil {
		tb.Cleanup(p.Kill)
	}
	return p, err
}

// Line is a line of `doorbell watch` or `doorbell get`.
type Line struct {
	Key     string          `json:"key"`
	Seq     int64           `json:"seq"`
	Value   json.RawMessage `json:"value"`
	Deleted bool            `json:"deleted"`
	Reset   bool            `json:"reset"`
	Trimmed int64           `json:"trimmed"`
	Cursor  *string         `json:"cursor"`
}

// Lines parses what a command has printed so far.
func Lines(tb testing.TB, out *process.Output) []Line {
	tb.Helper()
	var lines []Line
	for _, text := range out.Lines() {
		var l Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			tb.Fatalf("the line %q is not JSON: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// Apply makes a feed's state of lines, by what `doorbell help watch` says of them and nothing else.
func Apply(lines []Line) doorbell.State {
	state := doorbell.State{Items: map[string]doorbell.Change{}}
	for _, l := range lines {
		switch {
		case l.Cursor != nil:
			state.Cursor = *l.Cursor
		case l.Reset:
			clear(state.Items)
		case l.Trimmed > 0:
			for key, item := range state.Items {
				if item.Seq <= l.Trimmed {
					delete(state.Items, key)
				}
			}
		case l.Deleted:
			delete(state.Items, l.Key)
		default:
			state.Items[l.Key] = doorbell.Change{Key: l.Key, Seq: l.Seq, Value: l.Value}
		}
	}
	return state
}

// WaitCursor waits until the last line that `doorbell watch` has printed is the cursor given.
func WaitCursor(tb testing.TB, out *process.Output, cursor string) []Line {
	tb.Helper()
	var lines []Line
	Eventually(tb, "watch prints the cursor "+cursor, func() bool {
		lines = Lines(tb, out)
		return len(lines) > 0 && lines[len(lines)-1].Cursor != nil && *lines[len(lines)-1].Cursor == cursor
	})
	return lines
}

// SameState compares a state that was built from changes with the feed's snapshot.
func SameState(tb testing.TB, who string, got doorbell.State, want *doorbell.State) {
	tb.Helper()
	if got.Cursor != want.Cursor {
		tb.Errorf("%s ends at %s; the snapshot is at %s", who, got.Cursor, want.Cursor)
	}
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 5 {
			tb.Errorf(who+": "+format, args...)
		}
	}
	for key, item := range want.Items {
		have, ok := got.Items[key]
		if !ok || have.Seq != item.Seq || string(have.Value) != string(item.Value) {
			complain("%s is %s at %d (there: %v); the snapshot has %s at %d", key, have.Value, have.Seq, ok, item.Value, item.Seq)
		}
	}
	for key, item := range got.Items {
		if _, ok := want.Items[key]; !ok {
			complain("%s (%d) is there; the snapshot has no such item", key, item.Seq)
		}
	}
}
