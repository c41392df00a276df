package doorbell

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

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

// TestATraceIsOfItsHeadAlone: a pull for a newer head that came without one, or for none, is not part of it.
func TestATraceIsOfItsHeadAlone(t *testing.T) {
	at := cursors("0k00001-1", "0k00001-2", "0k00001-3")
	of := func(b *inbox, have cursor) string {
		now := b.view()
		return tracedAs(now.traced(t.Context(), have))
	}
	b := newInbox()
	b.changed(at[1], 0, sampled)
	if got := of(b, at[0]); got != sampled {
		t.Errorf("the pull for its head has %q", got)
	}
	if got := of(b, at[1]); got != "" {
		t.Errorf("who is there already pulls with %q", got)
	}
	b.changed(at[1], 0, "") // the same once more
	if got := of(b, at[0]); got != sampled {
		t.Errorf("after a signal that was no news, the pull has %q", got)
	}
	b.subscribed(&at[2])
	if got := of(b, at[0]); got != "" {
		t.Errorf("the pull for a newer head has %q", got)
	}
}

// TestStepsBelongToTheTrace of the signal that has them asked for, all of them.
func TestStepsBelongToTheTrace(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		since := f.put("a", `0`)
		cache := newFakeCache(f)
		onTime, _ := serve(t, cache)
		crowd := startWatch(t, onTime, FollowOptions{Since: since})
		var mu sync.Mutex
		var had []string
		l := startLate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/feeds/") {
				mu.Lock()
				had = append(had, r.Header.Get("Traceparent"))
				mu.Unlock()
			}
			cache.ServeHTTP(w, r)
		}), FollowOptions{Since: since})
		l.wantEvents("@" + since)
		f.behind(crowd, 3, 1)
		f.with(func() { f.silent = true })
		f.broadcast(fmt.Sprintf(`{"changed":{%q:%q},"traceparent":%q}`, feedX, f.put("a", `4`), sampled))
		l.settle()
		l.letGo()
		l.wantSame(f)
		if want := slices.Repeat([]string{sampled}, 4); !slices.Equal(had, want) {
			t.Errorf("the reads have %q", had)
		}
	})
}
