package doorbell

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// traces are the traceparents of the reads since.
func (f *fake) traces() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, r := range f.requests {
		all = append(all, r.header.Get("Traceparent"))
	}
	f.requests = nil
	return all
}

// TestFollowPassesATraceOn with the pull that the signal causes, and with no other.
func TestFollowPassesATraceOn(t *testing.T) {
	const sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	inBubble(t, func(t *testing.T, f *fake) {
		f.pageSize = 2
		f.put("a", `0`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Limit: 2})
		w.wantEvents("a=0 @0k00001-1")
		if got := f.traces(); !slices.Equal(got, []string{""}) {
			t.Errorf("the first read has %q", got)
		}
		for i, test := range []struct {
			member string
			want   string
		}{
			{fmt.Sprintf(`"traceparent":%q`, sampled), sampled},
			{`"other":[1]`, ""},
			{`"traceparent":"x\r\ny: z"`, ""},
			{fmt.Sprintf(`"traceparent":%q`, strings.ToUpper(sampled)), ""},
			{fmt.Sprintf(`"traceparent":%q`, strings.Repeat(sampled, 1000)), ""},
			{fmt.Sprintf(`"traceparent":%q`, sampled+"-x"), ""},
		} {
			f.with(func() { f.silent = true })
			head := f.put("a", fmt.Sprint(i))
			f.broadcast(fmt.Sprintf(`{"changed":{"prices:X":%q},%s}`, head, test.member))
			w.wantEvents(fmt.Sprintf("a=%d @%s", i, head))
			if got := f.traces(); !slices.Equal(got, []string{test.want}) {
				t.Errorf("with %.80s: the pull has %q", test.member, got)
			}
		}
		head := f.put("a", `9`)
		f.broadcast(fmt.Sprintf(`{"changed":{"prices:X":%q},"spread":5000,"traceparent":%q}`, head, sampled))
		head = f.put("a", `10`)
		f.broadcast(fmt.Sprintf(`{"changed":{"prices:X":%q}}`, head)) // a newer head, of another write
		w.pass(5 * time.Second)
		w.wantEvents("a=10 @" + head)
		if got := f.traces(); !slices.Equal(got, []string{""}) {
			t.Errorf("the pull for a head without a trace has %q", got)
		}
	})
}
