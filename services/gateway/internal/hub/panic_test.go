package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
)

// broken is a Form that can't be made.
type broken struct{ seqs } //nolint:unused // of some size, so that each is another one

func (*broken) AppendSignal([]byte, hub.FeedHead) []byte { panic("a form that panics") }

// TestAPanicCostsTheClientThatIsWrittenTo: in making its frame or in writing it; all others are told, of this head and of later
// ones.
func TestAPanicCostsTheClientThatIsWrittenTo(t *testing.T) {
	for name, crowd := range map[string]int{"a crowd": 1000, "one follower": 0} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
				b.set("a", 1)
				var well, ill []*pushed
				for i := range max(crowd, 1) {
					if i%100 == 0 {
						ill = append(ill, follow(t, b, h, &broken{}, "a"))
					}
					if crowd > 0 {
						well = append(well, follow(t, b, h, &seqs{}, "a"))
					}
				}
				if crowd > 0 {
					p := follow(t, b, h, &seqs{}, "a")
					p.then = func() { panic("a socket that panics") }
					ill = append(ill, p)
				}
				b.set("a", 2)
				synctest.Wait()
				for i, p := range ill {
					if p.failed == nil {
						t.Fatalf("client %d goes on", i)
					}
					p.c.Close() // as its connection does
				}
				b.set("a", 3)
				synctest.Wait()
				for i, p := range well {
					if fmt.Sprint(p.sent) != "[a=2,false a=3,false]" || p.failed != nil {
						t.Fatalf("client %d was sent %q, %v", i, p.sent, p.failed)
					}
				}
				if n := h.Stats().Clients; n != len(well) {
					t.Errorf("%d clients are left of %d", n, len(well))
				}
			})
		})
	}
}
