package gormstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

const veryMany = 20_000 // several times what is removed at once

// fillFeed makes a feed with very many items, tombstones when they are deleted, by one statement.
func fillFeed(t *testing.T, p *Postgres, name feed.Name, deleted bool) {
	t.Helper()
	if _, err := p.Append(t.Context(), name, touch); err != nil {
		t.Fatal(err)
	}
	live := veryMany
	if deleted {
		live = 0
	}
	for _, sql := range []string{
		//nolint:dupword // SQL
		fmt.Sprintf(`INSERT INTO items (feed_id, key, seq, deleted, value, changed_at)
			SELECT f.id, 'k' || n, n, %t, CASE WHEN %t THEN NULL ELSE '1' END, 1
			FROM feeds f, generate_series(1, %d) n WHERE f.name = '%s'`, deleted, deleted, veryMany, name),
		fmt.Sprintf(`UPDATE feeds SET head = %d, items = %d WHERE name = '%s'`, veryMany, live, name),
		"ANALYZE items",
	} {
		if err := p.write.Exec(sql).Error; err != nil {
			t.Fatal(err)
		}
	}
}

func rowsOf(t *testing.T, p *Postgres) (n int64) {
	t.Helper()
	if err := p.write.Raw("SELECT count(*) FROM items").Scan(&n).Error; err != nil {
		t.Fatal(err)
	}
	return n
}

// TestVeryManyRowsGoSomeAtATime: what has to be removed may be more than a statement has time for. A transaction that tried all of it
// would be cancelled each time, and never get on. Here the database itself refuses statements that remove much.
func TestVeryManyRowsGoSomeAtATime(t *testing.T) {
	p := openPostgresTest(t, patiently(Options{}))
	for _, sql := range []string{
		`CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF (SELECT count(*) FROM gone) > 5000 THEN RAISE EXCEPTION 'too many at once' USING ERRCODE = '57014'; END IF;
			RETURN NULL;
		END $$`,
		"CREATE TRIGGER few AFTER DELETE ON items REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION few()",
	} {
		if err := p.write.Exec(sql).Error; err != nil {
			t.Fatal(err)
		}
	}

	fillFeed(t, p, "dead", true)
	begin := time.Now()
	n, err := p.Purge(t.Context(), feed.Scope{Except: true}, time.Now())
	if err != nil || n != veryMany || rowsOf(t, p) != 0 {
		t.Errorf("purged %d of %d: %v", n, veryMany, err)
	}
	t.Logf("%d tombstones purged in %s", n, time.Since(begin))

	// A bound that was lowered: each write gets through, and the feed comes down.
	fillFeed(t, p, "live", false)
	begin = time.Now()
	const bound = 1000
	writes := 0
	for left := int64(veryMany); left > bound; writes++ {
		w, err := p.Append(t.Context(), "live", store.Write{
			Edits: []feed.Edit{{Key: fmt.Sprintf("new%d", writes), Value: []byte("1")}}, MaxItems: bound,
		})
		if err != nil {
			t.Fatalf("write %d: %v", writes, err)
		}
		if left = rowsOf(t, p); writes > 2*veryMany/trimAtOnce {
			t.Fatalf("after %d writes, at %s, there are %d items", writes, w.Cursor, left)
		}
	}
	t.Logf("down to %d items with %d writes in %s", bound, writes, time.Since(begin))
	d, err := p.Delta(t.Context(), "live", store.Query{Limit: 10_000, MaxBytes: 1 << 20})
	if err != nil || len(d.Changes) != bound || d.Trimmed != d.Changes[0].Seq-1 {
		t.Errorf("the feed has %d items beyond %d: %v", len(d.Changes), d.Trimmed, err)
	}

	// Items above very many tombstones.
	fillFeed(t, p, "above", true)
	for i := range 3 {
		if _, err := p.Append(t.Context(), "above", store.Write{
			Edits: []feed.Edit{{Key: fmt.Sprintf("new%d", i), Value: []byte("1")}}, MaxItems: 1,
		}); err != nil {
			t.Errorf("a trim of very many tombstones: %v", err)
		}
	}
}
