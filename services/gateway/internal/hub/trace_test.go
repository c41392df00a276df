package hub_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// traceBook writes down what became of the traces.
type traceBook struct {
	mu    sync.Mutex
	began int
	ended []string
}

func (b *traceBook) begin(_ feed.Name, _ bus.Head, trace string) hub.Trace {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.began++
	return &bookedTrace{book: b, text: "our " + trace}
}

// take gives what has ended since.
func (b *traceBook) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := b.ended
	b.ended = nil
	return ended
}

type bookedTrace struct {
	book *traceBook
	text string
}

func (t *bookedTrace) Text() string { return t.text }

func (t *bookedTrace) End(followers int, overtaken bool) {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.book.ended = append(t.book.ended, fmt.Sprintf("%s to %d, %t", t.text, followers, overtaken))
}

// tracing is a Form that says the trace as well, and counts how often it was asked.
type tracing struct{ made int }

func (f *tracing) AppendSignal(b []byte, h hub.FeedHead) []byte {
	f.made++
	return fmt.Appendf(b, "%d %s", h.Head.Cursor.Seq, h.Trace)
}

func wantTold(t *testing.T, all []*pushed, want ...string) {
	t.Helper()
	for i, p := range all {
		if !slices.Equal(p.sent, want) {
			t.Fatalf("client %d was told %q, want %q", i, p.sent, want)
		}
		p.sent = nil
	}
}

// TestATraceGoesToAllOfItsHead, in one frame for all, and ends when they have been told; later heads have none.
func TestATraceGoesToAllOfItsHead(t *testing.T) {
	for _, crowd := range []int{1, 2, 1000} {
		book := &traceBook{}
		runTraced(t, book.begin, func(t *testing.T, b *fakeBus, h *hub.Hub) {
			b.set("a", 1)
			form := &tracing{}
			var all []*pushed
			for range crowd {
				all = append(all, follow(t, b, h, form, "a"))
			}
			for seq := int64(2); seq < 20; seq += 3 {
				form.made = 0
				b.setTraced("a", seq, "T")
				synctest.Wait()
				wantTold(t, all, fmt.Sprintf("%d our T", seq))
				if form.made > (crowd+127)/128 { // each stride of a pass makes its own
					t.Errorf("%d frames for %d clients", form.made, crowd)
				}
				if got := book.take(); !slices.Equal(got, []string{fmt.Sprintf("our T to %d, false", crowd)}) {
					t.Errorf("traces ended: %q", got)
				}
				b.set("a", seq+1)
				b.setTraced("a", seq+1, "late") // no news
				synctest.Wait()
				wantTold(t, all, fmt.Sprintf("%d ", seq+1))
			}
			if got := book.take(); len(got) != 0 || book.began != 6 {
				t.Errorf("%d traces began, and ended: %q", book.began, got)
			}
		})
	}
}

// TestATraceIsOvertaken by a newer head: nobody is told it with that.
func TestATraceIsOvertaken(t *testing.T) {
	book := &traceBook{}
	runTraced(t, book.begin, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.set("a", 1)
		var all []*pushed
		for range 1000 {
			all = append(all, follow(t, b, h, &tracing{}, "a"))
		}
		told := 0
		for _, p := range all {
			p.then = func() {
				switch told++; told {
				case 300:
					b.setTraced("a", 3, "B")
				case 600:
					b.set("a", 4)
				}
			}
		}
		b.setTraced("a", 2, "A")
		synctest.Wait()
		for _, p := range all {
			for _, frame := range p.sent {
				if !slices.Contains([]string{"2 our A", "3 our B", "4 "}, frame) {
					t.Fatalf("told %q", p.sent)
				}
			}
			if p.sent[len(p.sent)-1] != "4 " {
				t.Fatalf("told %q", p.sent)
			}
		}
		if got := book.take(); !slices.Equal(got, []string{"our A to 1000, true", "our B to 1000, true"}) {
			t.Errorf("traces ended: %q", got)
		}
	})
}

// TestATraceOfNobody: one that nobody here is told of ends at once; and who is told later, by asking, is told the head alone.
func TestATraceOfNobody(t *testing.T) {
	book := &traceBook{}
	runTraced(t, book.begin, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.set("a", 1)
		p := follow(t, b, h, &tracing{}, "a")
		slow := listen(t, b, h)
		slow.subscribe("x", "b")
		slow.expect("x[b=null]")
		p.c.Unsubscribe([]feed.Name{"a"})
		b.setTraced("a", 2, "T") // it lingers
		b.setTraced("none", 2, "T")
		synctest.Wait()
		if got := book.take(); !slices.Equal(got, []string{"our T to 0, false"}) {
			t.Errorf("traces ended: %q", got)
		}
		b.setTraced("b", 1, "U")
		synctest.Wait()
		if got := book.take(); !slices.Equal(got, []string{"our U to 1, false"}) {
			t.Errorf("traces ended: %q", got)
		}
		var ev hub.Event
		slow.Next(&ev)
		if ev.Kind != hub.Changed || len(ev.Heads) != 1 || ev.Heads[0].Trace != "" {
			t.Errorf("who was told later was told %+v", ev)
		}
	})
}

// TestATraceIsOvertakenOnItsWayToOne: the newer trace is not ended by what is told of the older one.
func TestATraceIsOvertakenOnItsWayToOne(t *testing.T) {
	book := &traceBook{}
	runTraced(t, book.begin, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		b.set("a", 1)
		p := follow(t, b, h, &tracing{}, "a")
		p.then = func() {
			p.then = nil
			b.setTraced("a", 3, "B")
		}
		b.setTraced("a", 2, "A")
		synctest.Wait()
		wantTold(t, []*pushed{p}, "2 our A", "3 our B")
		if got := book.take(); !slices.Equal(got, []string{"our A to 1, true", "our B to 1, false"}) {
			t.Errorf("traces ended: %q", got)
		}
	})
}
