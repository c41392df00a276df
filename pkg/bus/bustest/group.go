package bustest

import (
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// group is goroutines that are waited for.
type group struct{ wg sync.WaitGroup }

func (g *group) do(f func()) { g.wg.Go(f) }
func (g *group) wait()       { g.wg.Wait() }

// publishAsync is publish for goroutines other than the test's, which must not end the test.
func (e *env) publishAsync(b bus.Bus, n feed.Name, c feed.Cursor) {
	if err := b.Publish(e.Context(), n, c); err != nil {
		e.Errorf("Publish %s at %q: %v", n, c, err)
	}
}
