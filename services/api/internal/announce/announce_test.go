package announce

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// rewindable is a store that may have been rewound.
type rewindable struct {
	store.Rewindable
	mu sync.Mutex
	id string // guarded by mu
}

func (r *rewindable) Rewound(context.Context) (store.Rewind, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return store.Rewind{ID: r.id}, nil
}

func (r *rewindable) become(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = id
}

// TestARewoundStoresHeadsAreNotPublished: the bus doesn't know the feed, and has to go on not knowing it until it has a new epoch.
func TestARewoundStoresHeadsAreNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membus.New(membus.Options{})
		defer b.Close()
		st := &rewindable{id: "another history"}
		a := New(b, st, time.Second, slog.New(slog.DiscardHandler))
		defer a.Close()
		head := feed.Cursor{Epoch: 7, Seq: 41}
		known := func() bool {
			t.Helper()
			synctest.Wait()
			heads, err := b.Heads(t.Context(), []feed.Name{"a"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			return heads[0].Known && heads[0].Cursor == head
		}
		a.Found("a", head)
		if known() {
			t.Fatal("a rewound store's head was published")
		}
		st.become("")
		a.Found("a", head)
		if !known() {
			t.Error("a head that the bus doesn't know was not published")
		}
	})
}
