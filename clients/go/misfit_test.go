package doorbell

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAProxyThatDropsQueries: every read says so, and a follower neither goes wrong nor asks in a loop.
func TestAProxyThatDropsQueries(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.put("a", `1`)
		since := f.put("b", `1`)
		c, _ := serve(t, f)
		w := startWatch(t, c, FollowOptions{Since: since})
		w.wantEvents("@" + since)
		f.with(func() {
			f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
				r.URL.RawQuery = ""
				return false
			}
		})
		head := f.put("a", `2`)
		w.pass(10 * time.Minute)
		w.wantEvents("")
		if n := len(f.reads()); n < 5 || n > 60 {
			t.Errorf("%d reads in ten minutes", n)
		}
		if m, ok := errors.AsType[*Misfit](w.status().Err); !ok || !strings.Contains(m.Error(), "query string") {
			t.Errorf("the follower says %v", w.status().Err)
		}
		for what, read := range map[string]func() error{
			"Changes":           func() error { _, err := c.Changes(t.Context(), feedX, since, ReadOptions{}); return err },
			"Changes of a seq":  func() error { _, err := c.Changes(t.Context(), feedX, "1", ReadOptions{}); return err },
			"Snapshot at least": func() error { _, err := c.Snapshot(t.Context(), feedX, ReadOptions{AtLeast: head + "0"}); return err },
		} {
			if _, ok := errors.AsType[*Misfit](read()); !ok {
				t.Errorf("%s: %v", what, read())
			}
		}
		f.with(func() { f.fault = nil })
		w.pass(5 * time.Minute)
		w.wantEvents("a=2 @" + head)
	})
}
