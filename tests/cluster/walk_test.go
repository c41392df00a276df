//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
)

const (
	walked     = "walk:large"
	walkedSize = 200_000
)

// TestALargeSnapshotIsWalkedWhileItChanges, by one client and by ten at once: each ends equal to the truth, and the API takes
// no more memory for it than it would for a small feed.
func TestALargeSnapshotIsWalkedWhileItChanges(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	client := c.APIs[0].Client()
	if _, err := client.Put(t.Context(), walked, "k1", json.RawMessage(`0`)); err != nil {
		t.Fatal(err)
	}
	//nolint:dupword // SQL
	c.Postgres.Exec(fmt.Sprintf(`INSERT INTO items (feed_id, key, seq, deleted, value, changed_at)
		SELECT f.id, 'k' || n, n, false, '"' || repeat('x', 64) || '"', 1 FROM feeds f, generate_series(2, %d) n WHERE f.name = '%s';
		UPDATE feeds SET head = %d, items = %d WHERE name = '%s'; ANALYZE items`,
		walkedSize, walked, walkedSize, walkedSize, walked))
	if _, err := client.Touch(t.Context(), walked); err != nil { // tells the API that there is more
		t.Fatal(err)
	}
	for _, walkers := range []int{1, 10} {
		t.Run(strconv.Itoa(walkers), func(t *testing.T) { walkAll(t, c, walkers) })
	}
}

func walkAll(t *testing.T, c *cluster.Cluster, walkers int) {
	api := c.APIs[0]
	before := api.Memory()
	var most atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var behind sync.WaitGroup
	defer behind.Wait()
	defer stop()
	behind.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
			most.Store(max(most.Load(), api.Memory()))
		}
	})
	writes := 0
	var writing sync.WaitGroup
	writer := api.Client()
	writing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ { // all over the feed: changed, deleted, made anew
			changes := []doorbell.Change{
				{Key: fmt.Sprintf("k%d", 1+n*7919%walkedSize), Value: json.RawMessage(strconv.Itoa(n))},
				{Key: fmt.Sprintf("k%d", 1+n*104_729%walkedSize), Deleted: true},
				{Key: fmt.Sprintf("new%d", n%500), Value: json.RawMessage(strconv.Itoa(n))},
			}
			if _, err := writer.Write(context.WithoutCancel(ctx), walked, changes); err != nil {
				t.Errorf("write %d: %v", n, err)
				return
			}
			writes++
			time.Sleep(2 * time.Millisecond)
		}
	})
	copies := make([]*walker, walkers)
	var walking sync.WaitGroup
	began := time.Now()
	for i := range copies {
		copies[i] = &walker{client: api.Client(), items: map[string]int64{}}
		walking.Go(func() { copies[i].walk(t) })
	}
	walking.Wait()
	took := time.Since(began)
	stop()
	writing.Wait()
	behind.Wait()

	truth := map[string]int64{}
	for line := range strings.Lines(c.Postgres.Exec(
		"SELECT i.key, i.seq FROM items i JOIN feeds f ON f.id = i.feed_id WHERE NOT i.deleted AND f.name = '" + walked + "'")) {
		key, seq, _ := strings.Cut(strings.TrimSpace(line), "|")
		n, err := strconv.ParseInt(seq, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		truth[key] = n
	}
	pages := 0
	for i, w := range copies {
		w.walk(t) // what has come since
		pages += w.pages
		wrong := 0
		for key, seq := range truth {
			if w.items[key] != seq {
				wrong++
			}
		}
		if wrong > 0 || len(w.items) != len(truth) || w.deletions == 0 {
			t.Errorf("walker %d has %d items and saw %d deletions; the truth is %d items, of which %d are wrong", i, len(w.items), w.deletions, len(truth), wrong)
		}
	}
	const mib = 1 << 20
	t.Logf("%d walkers, %d items, %d pages in %s during %d writes; memory of the API %d MiB before, %d MiB at most",
		walkers, len(truth), pages, took.Round(time.Millisecond), writes, before/mib, most.Load()/mib)
	// The cache is 64 MiB, and the collector lets twice what is live be there; all items together are 20 MB for each walker.
	if grown := most.Load() - before; before > 0 && grown > 192*mib {
		t.Errorf("the API has grown by %d MiB", grown/mib)
	}
}

// walker reads a feed page by page, by hand.
type walker struct {
	client           *doorbell.Client
	cursor           string
	items            map[string]int64
	pages, deletions int
}

func (w *walker) walk(t *testing.T) {
	for more := true; more; w.pages++ {
		p, err := w.client.Changes(t.Context(), walked, w.cursor, doorbell.ReadOptions{})
		if err != nil {
			t.Errorf("page %d, since %s: %v", w.pages, w.cursor, err)
			return
		}
		for _, change := range p.Changes {
			if change.Deleted {
				w.deletions++
				delete(w.items, change.Key)
				continue
			}
			w.items[change.Key] = change.Seq
		}
		w.cursor, more = p.Cursor, p.More
	}
}
