package bustest

import (
	"errors"
	"maps"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

var memoryChecks = []check{
	{"MarkIsKeptForAll", 2, markIsKeptForAll},
	{"LostMemoryIsNoticed", 2, lostMemoryIsNoticed},
	{"MemoryTellsAllHeads", 2, memoryTellsAllHeads},
}

// memory is what a node remembers with; it skips the test when it doesn't.
func (e *env) memory(b bus.Bus) bus.Memory {
	e.Helper()
	m, ok := b.(bus.Memory)
	if !ok {
		e.Skip("this implementation can't lose heads")
	}
	return m
}

func (e *env) mark(b bus.Bus) bus.Mark {
	e.Helper()
	mark, err := e.memory(b).Mark(e.Context())
	if err != nil {
		e.Fatalf("Mark: %v", err)
	}
	if mark.Life == "" {
		e.Fatalf("the mark %+v has no life", mark)
	}
	return mark
}

func (e *env) wantMark(b bus.Bus, want bus.Mark) {
	e.Helper()
	if got := e.mark(b); got != want {
		e.Errorf("the mark is %+v, want %+v", got, want)
	}
}

func markIsKeptForAll(e *env) {
	life := e.mark(e.first()).Life
	for _, node := range e.Nodes {
		e.wantMark(node, bus.Mark{Life: life})
	}
	for i, text := range []string{"horizon 1", "horizon 2", ""} {
		if err := e.memory(e.Nodes[i%len(e.Nodes)]).SetMark(e.Context(), life, text); err != nil {
			e.Fatalf("SetMark: %v", err)
		}
		for _, node := range e.Nodes {
			e.wantMark(node, bus.Mark{Life: life, Text: text, Whole: true})
		}
	}
	if err := e.memory(e.first()).SetMark(e.Context(), "another", "horizon 3"); !errors.Is(err, bus.ErrForgotten) {
		e.Errorf("SetMark of another life: %v, want ErrForgotten", err)
	}
	e.wantMark(e.other(), bus.Mark{Life: life, Whole: true})
	if err := e.first().Close(); err != nil {
		e.Errorf("Close: %v", err)
	}
	if _, err := e.memory(e.first()).Mark(e.Context()); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("Mark after Close: %v, want ErrClosed", err)
	}
	if err := e.memory(e.first()).SetMark(e.Context(), life, ""); !errors.Is(err, bus.ErrClosed) {
		e.Errorf("SetMark after Close: %v, want ErrClosed", err)
	}
}

// lostMemoryIsNoticed: the heads are unknown, another life has begun, and what was to be left in the old one isn't. Followers
// hear of what is published after that, as before.
func lostMemoryIsNoticed(e *env) {
	first := e.mark(e.first())
	if e.Forget == nil {
		e.Skip("this implementation can't be made to lose heads")
	}
	r := e.listen(e.first())
	e.publish(e.first(), "memory:1", at(1, 1))
	e.follow(r, "memory:1")
	e.Forget()
	e.wantHead(e.first(), "memory:1", bus.Head{})
	if err := e.memory(e.other()).SetMark(e.Context(), first.Life, "horizon 1"); !errors.Is(err, bus.ErrForgotten) {
		e.Errorf("SetMark of a life that is over: %v, want ErrForgotten", err)
	}
	next := e.mark(e.other())
	if next.Life == first.Life {
		e.Errorf("the life is still %s", next.Life)
	}
	e.wantMark(e.first(), bus.Mark{Life: next.Life})
	e.publish(e.other(), "memory:1", at(1, 2))
	r.await("memory:1", at(1, 2))
	e.wantHead(e.first(), "memory:1", bus.At(at(1, 2)))
}

func memoryTellsAllHeads(e *env) {
	m := e.memory(e.first())
	want := map[feed.Name]bus.Head{"none": bus.At(feed.Cursor{})}
	for i, n := range names("told", 2500) {
		want[n] = bus.At(at(1, int64(i+1)))
	}
	for n, h := range want {
		e.publish(e.other(), n, h.Cursor)
	}
	got := make(map[feed.Name]bus.Head)
	if err := m.Told(e.Context(), func(some []bus.Told) error {
		if len(some) == 0 || len(some) > 1000 {
			e.Errorf("told %d at a time", len(some))
		}
		for _, t := range some {
			got[t.Name] = t.Head
		}
		return nil
	}); err != nil {
		e.Fatalf("Told: %v", err)
	}
	if !maps.Equal(got, want) {
		e.Errorf("told %d heads; want the %d that were published", len(got), len(want))
	}
	enough, calls := errors.New("enough"), 0
	if err := m.Told(e.Context(), func([]bus.Told) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
		e.Errorf("Told after an error: %v, %d calls", err, calls)
	}
}
