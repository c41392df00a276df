package window

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestViewsAnswerAsTheStore: whatever way a view has come to its head, what it says at all it says as the store does.
func TestViewsAnswerAsTheStore(t *testing.T) {
	st, err := gormstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "doorbell.db"), gormstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := membus.New(membus.Options{})
	defer func() { _ = b.Close(); _ = st.Close() }()
	told := 0
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w, err := New(Options{Store: st, Bus: b, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if seed%3 == 1 {
			w.most = bounds{rows: 8, bytes: 1 << 20}
		}
		name := feed.Name(fmt.Sprint("pub:", seed))
		most := []int{0, 0, 6}[rng.IntN(3)]
		step := func() {
			for range 1 + rng.IntN(8) {
				e := feed.Edit{Key: fmt.Sprint("k", rng.IntN(15)), Value: []byte("1")}
				if rng.IntN(3) == 0 {
					e.Deleted, e.Value = true, nil
				}
				if _, err := st.Append(t.Context(), name, store.Write{Edits: []feed.Edit{e}, MaxItems: most, Touch: rng.IntN(5) == 0}); err != nil {
					t.Fatal(err)
				}
			}
		}
		query := func(head feed.Cursor) store.Query {
			q := store.Query{Limit: 1 + rng.IntN(20), MaxBytes: 1 + rng.IntN(2000)}
			switch rng.IntN(5) {
			case 0:
			case 1:
				q.Since, q.BareSeq = feed.Cursor{Seq: int64(rng.IntN(int(head.Seq) + 2))}, true
			case 2:
				q.Since = feed.Cursor{Epoch: head.Epoch, Seq: int64(rng.IntN(int(head.Seq) + 2)), Base: 1 + int64(rng.IntN(int(head.Seq)+2))}
			default:
				q.Since = feed.Cursor{Epoch: head.Epoch, Seq: int64(rng.IntN(int(head.Seq) + 2))}
			}
			return q
		}
		var v *View
		for range 12 {
			step()
			if rng.IntN(6) == 0 {
				if _, err := st.Purge(t.Context(), feed.Scope{Except: true}, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			n := want{whole: rng.IntN(3) == 0}
			if v != nil && v.Exists() && rng.IntN(2) == 0 {
				n.since = feed.Cursor{Epoch: v.Head.Epoch, Seq: 1 + int64(rng.IntN(int(v.Head.Seq)+1))}
			}
			l, err := w.load(name, v, n)
			if err != nil {
				t.Fatal(err)
			}
			v = l.view
			if !v.Exists() {
				continue
			}
			for range 20 {
				q := query(v.Head)
				got, err := v.Delta(q)
				if errors.Is(err, errElsewhere) {
					continue
				}
				want, wantErr := st.Delta(t.Context(), name, q)
				var reset *feed.ResetError
				if errors.As(wantErr, &reset) && reset.Reason == feed.ResetFloor && err == nil {
					continue // it was purged since: the view knows better
				}
				told++
				want.Feed = ""
				if len(want.Changes) == 0 && len(got.Changes) == 0 {
					want.Changes, got.Changes = nil, nil
				}
				if err != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, %+v:\n%+v, %v\nthe store says\n%+v, %v", seed, q, got, err, want, wantErr)
				}
			}
		}
		w.Close()
	}
	if told < 1000 {
		t.Errorf("only %d answers were compared", told)
	}
}

// TestBounds: a window that gets too large lets go of what is oldest, and says so.
func TestBounds(t *testing.T) {
	head := feed.Cursor{Epoch: 1, Seq: 100}
	var rows []feed.Change
	for seq := int64(1); seq <= 100; seq++ {
		rows = append(rows, feed.Change{Key: fmt.Sprint(seq), Seq: seq, Deleted: seq%2 == 0})
	}
	whole := bounds{rows: 80, bytes: 1 << 20}.apply(newView(head, 0, 0, true, rows))
	if !whole.whole || len(whole.rows) != 50 || whole.base != 100 {
		t.Errorf("whole: %v, %d rows beyond %d; want the 50 live ones", whole.whole, len(whole.rows), whole.base)
	}
	part := bounds{rows: 40, bytes: 1 << 20}.apply(newView(head, 0, 0, true, rows))
	if part.whole || len(part.rows) != 30 || part.base != 70 {
		t.Errorf("whole: %v, %d rows beyond %d; want the last 30", part.whole, len(part.rows), part.base)
	}
	if d, err := part.Delta(store.Query{Since: feed.Cursor{Epoch: 1, Seq: 70}, Limit: 1000, MaxBytes: 1 << 20}); err != nil || len(d.Changes) != 30 {
		t.Errorf("%d changes, %v", len(d.Changes), err)
	}
	if _, err := part.Delta(store.Query{Since: feed.Cursor{Epoch: 1, Seq: 69}, Limit: 1000, MaxBytes: 1 << 20}); !errors.Is(err, errElsewhere) {
		t.Errorf("what was let go of is answered: %v", err)
	}
	none := bounds{rows: 1000, bytes: 1}.apply(newView(head, 0, 0, true, rows))
	if none.whole || len(none.rows) != 0 || none.base != 100 {
		t.Errorf("whole: %v, %d rows beyond %d; want none", none.whole, len(none.rows), none.base)
	}
}
