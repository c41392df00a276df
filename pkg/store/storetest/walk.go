package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

func testWalk(t *testing.T, e *env) {
	w := e.put("a", "a", "b", "c", "d", "e")
	walk := func(seq, base int64) feed.Cursor { return feed.Cursor{Epoch: w.Cursor.Epoch, Seq: seq, Base: base} }
	d := e.delta("a", feed.Cursor{}, 2)
	wantShape(t, d, "a@1 b@2")
	if !d.More || d.Cursor != walk(2, 5) {
		t.Fatalf("the first page ends at %s; want the walk cursor %s", d.Cursor, walk(2, 5))
	}
	e.delete("a", "a") // 6: was given out, so its tombstone must come
	e.delete("a", "d") // 7: was not, and comes too: the walk can't tell
	e.put("a", "c")    // 8: moves behind the base
	d = e.delta("a", d.Cursor, 2)
	wantShape(t, d, "e@5 -a@6")
	if !d.More || d.Cursor != walk(6, 0) {
		t.Fatalf("the page that passes the base ends at %s; want the plain cursor %s", d.Cursor, walk(6, 0))
	}
	d = e.delta("a", d.Cursor, 2)
	wantShape(t, d, "-d@7 c@8")
	if d.More || d.Cursor != walk(8, 0) {
		t.Fatalf("the last page is %+v; want it to end at %s", d, walk(8, 0))
	}
	// From seq 0 of the epoch, as a client that saw a feed's birth comes, the walk is the same.
	if d = e.delta("a", walk(0, 0), 1); d.Cursor != walk(2, 8) && d.Cursor != walk(5, 8) {
		t.Fatalf("a walk from seq 0 goes on at %s; want a walk cursor with base 8", d.Cursor)
	}
}

// testWalkBelowFloor: the oldest live items lie below the floor. A walk that tested its seq against it, as a plain delta
// does, would be sent back to its beginning for ever.
func testWalkBelowFloor(t *testing.T, e *env) {
	w := e.put("a", "a", "b", "c", "d", "e", "f")
	e.delete("a", "f") // 7
	e.advance(time.Hour)
	if n, err := e.Purge(e.ctx, feed.Scope{Except: true}, e.now()); err != nil || n != 1 {
		t.Fatalf("purged %d, %v", n, err)
	}
	at := func(seq int64) feed.Cursor { return feed.Cursor{Epoch: w.Cursor.Epoch, Seq: seq} }
	e.wantReset("a", at(2), feed.ResetFloor)
	for _, from := range []feed.Cursor{{}, at(0)} {
		r := newReplica(e, "a")
		r.cursor = from
		if err := r.catchUp(e.ctx, 1); err != nil {
			t.Fatal(err)
		}
		if len(r.items) != 5 || r.resets != 0 || r.pages != 5 {
			t.Fatalf("walked from %q to %d items in %d pages with %d resets; want 5 in 5 with none", from, len(r.items), r.pages, r.resets)
		}
	}
	// A walk that began before tombstones it needs were purged is over.
	d := e.delta("a", feed.Cursor{}, 1)
	e.delete("a", "a")
	e.advance(time.Hour)
	if _, err := e.Purge(e.ctx, feed.Scope{Except: true}, e.now()); err != nil {
		t.Fatal(err)
	}
	e.wantReset("a", d.Cursor, feed.ResetFloor)
}

const walkers = 4 // histories at a time: databases write for several at once

// testHistories walks feeds with random pasts while they change, with pages of random sizes.
func testHistories(t *testing.T, e *env, histories uint64) {
	var next atomic.Uint64
	var all sync.WaitGroup
	for i := range walkers {
		namespace := fmt.Sprintf("history%d", i) // of its own, because purges are by namespace
		all.Go(func() {
			for seed := next.Add(1); seed <= histories && !t.Failed(); seed = next.Add(1) {
				if err := walkHistory(e, namespace, seed); err != nil {
					t.Errorf("history %d: %v", seed, err)
				}
			}
		})
	}
	all.Wait()
}

func walkHistory(e *env, namespace string, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	h := &history{
		env: e, rng: rng, namespace: namespace, name: feed.Name(fmt.Sprintf("%s:%d", namespace, seed)), truth: newTruth(),
	}
	if rng.IntN(4) == 0 {
		h.maxItems = 5 + rng.IntN(10)
	}
	for range 2 + rng.IntN(6) {
		if err := h.step(12); err != nil {
			return err
		}
	}
	r := newReplica(e, h.name)
	quiet := 8 + rng.IntN(8) // pages until the writer rests
	for page := 0; ; page++ {
		more, err := r.pull(e.ctx, 1+rng.IntN(4))
		if err != nil {
			return err
		}
		if page < quiet {
			if err := h.step(3); err != nil {
				return err
			}
			continue
		}
		if !more {
			break
		}
		// From here on every page brings a row that stays where it is: no more pages than rows, and one reset.
		if most := quiet + int(h.truth.head) + 2; page > most {
			return fmt.Errorf("still not there after %d pages: a loop", page)
		}
	}
	if r.resets > h.purges {
		return fmt.Errorf("%d resets for %d purges", r.resets, h.purges)
	}
	if r.cursor.Seq != h.truth.head {
		return fmt.Errorf("the walk ended at %s; the head is %d", r.cursor, h.truth.head)
	}
	if diff := sameItems(r.items, h.truth.items); diff != "" {
		return fmt.Errorf("after %d pages: %s", r.pages, diff)
	}
	return nil
}

// history is a feed's random past and the truth about it.
type history struct {
	*env
	rng       *rand.Rand
	namespace string
	name      feed.Name
	truth     *truth
	maxItems  int
	purges    int
}

// step makes one random write of up to most edits, or now and then purges.
func (h *history) step(most int) error {
	if h.rng.IntN(6) == 0 {
		h.purges++
		age := time.Duration(h.rng.IntN(20*walkers)) * time.Millisecond // the clock moves a millisecond a write or so
		_, err := h.Purge(h.ctx, feed.Scope{Namespaces: []string{h.namespace}}, h.now().Add(-age))
		return err
	}
	w := store.Write{MaxItems: h.maxItems, Touch: h.rng.IntN(10) == 0}
	for range 1 + h.rng.IntN(most) {
		edit := feed.Edit{Key: fmt.Sprintf("k%d", h.rng.IntN(30)), Deleted: h.rng.IntN(3) == 0}
		if !edit.Deleted {
			edit.Value = fmt.Appendf(nil, "%d", h.rng.IntN(1000))
		}
		w.Edits = append(w.Edits, edit)
	}
	written, err := h.Append(h.ctx, h.name, w)
	if err != nil || written.Cursor.IsZero() {
		return err
	}
	return h.truth.apply(ack{w, written})
}
