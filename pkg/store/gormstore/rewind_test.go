package gormstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// rewindable is a store on a Postgres of its own, with a copy of it at a-1 that is about to be put back.
func rewindable(t *testing.T) (server *testkit.PostgresServer, copied testkit.PostgresCopy, p *Postgres, before store.Written) {
	t.Helper()
	server = testkit.NewPostgres(t)
	p = openPostgresAt(t, server.URL, patiently(Options{}))
	if _, err := p.Append(t.Context(), "a", touch); err != nil {
		t.Fatal(err)
	}
	copied = server.Copy()
	before, err := p.Append(t.Context(), "a", touch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(t.Context(), "b", touch); err != nil {
		t.Fatal(err)
	}
	writeMuch(t, p)
	return server, copied, p, before
}

// writeMuch writes more than what a crash may take back of the log.
func writeMuch(t *testing.T, p *Postgres) {
	t.Helper()
	noise := make([]byte, 2*lsnSlack)
	for i := range noise {
		noise[i] = 'a' + byte(rand.N(26)) // so that it isn't compressed to nothing
	}
	w := store.Write{Edits: []feed.Edit{{Key: "noise", Value: fmt.Appendf(nil, "%q", noise)}}}
	if _, err := p.Append(t.Context(), "much", w); err != nil {
		t.Fatal(err)
	}
}

func wantRewound(t *testing.T, p *Postgres, ahead feed.Cursor, late bool) (id string) {
	t.Helper()
	// On connections from before and new ones, in every way there is to write a feed.
	_, appended := p.Append(t.Context(), "a", touch)
	_, born := p.Append(t.Context(), "new", touch)
	_, dropped := p.Drop(t.Context(), "a", nil, nil)
	byHand := p.fault("by hand", p.write.WithContext(t.Context()).Exec("UPDATE feeds SET head = head + 1").Error)
	_, read := p.Delta(t.Context(), "a", store.Query{Since: ahead, Limit: 1, MaxBytes: 1})
	// And what writes nothing, which would be an answer out of the wrong history.
	nothing := store.Write{Edits: []feed.Edit{{Key: "no such key", Deleted: true}}}
	_, unchanged := p.Append(t.Context(), "a", nothing)
	_, unborn := p.Append(t.Context(), "new", nothing)
	failed := touch
	failed.IfHead = &ahead
	_, precondition := p.Append(t.Context(), "a", failed)
	_, precondition2 := p.Drop(t.Context(), "a", &ahead, nil)
	_, missing := p.Drop(t.Context(), "no-such-feed", nil, nil)
	for what, err := range map[string]error{
		"unchanged": unchanged, "unchanged, no feed": unborn, "a failed precondition": precondition,
		"a drop's": precondition2, "a drop of no feed": missing,
		"append": appended, "birth": born, "drop": dropped, "a hand": byHand, "a reader that is ahead": read,
	} {
		if !errors.Is(err, store.ErrRewound) || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v; want ErrRewound", what, err)
		}
	}
	if _, err := p.Delta(t.Context(), "a", store.Query{Limit: 1, MaxBytes: 1}); err != nil {
		t.Errorf("a read: %v; want the feed as it is", err)
	}
	r, err := p.Rewound(t.Context())
	if err != nil || r.ID == "" || r.Late != late {
		t.Fatalf("rewound: %+v, %v", r, err)
	}
	return r.ID
}

func resume(t *testing.T, p *Postgres, id string, before feed.Cursor) {
	t.Helper()
	heads, err := p.Renew(t.Context(), []store.Listed{{Name: "a", Head: before}, {Name: "b", Head: before}})
	if err != nil || len(heads) != 2 || heads[0].Head.Epoch <= before.Epoch || heads[0].Head.Seq != 1 || heads[1].Head.Seq != 0 {
		t.Fatalf("renewed: %v, %v", heads, err)
	}
	if err := p.Resume(t.Context(), "another"); !errors.Is(err, store.ErrRewound) {
		t.Errorf("resumed in another history: %v", err)
	}
	if _, err := p.Append(t.Context(), "a", touch); !errors.Is(err, store.ErrRewound) {
		t.Errorf("append before it was resumed: %v", err)
	}
	for range 2 {
		if err := p.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := p.Rewound(t.Context()); err != nil || id.ID != "" {
		t.Errorf("resumed it is still rewound: %+v, %v", id, err)
	}
	if w, err := p.Append(t.Context(), "a", touch); err != nil || w.Cursor.Epoch != heads[0].Head.Epoch || w.Cursor.Seq != 2 {
		t.Errorf("append: %+v, %v", w, err)
	}
}

func TestAnotherTimelineIsNotWritten(t *testing.T) {
	server, copied, p, before := rewindable(t)
	_, horizon, err := p.Changed(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := p.Rewound(t.Context()); err != nil || id.ID != "" {
		t.Fatalf("rewound already: %+v, %v", id, err)
	}
	server.PutBack(copied, true)
	id := wantRewound(t, p, before.Cursor, false)
	if _, _, err := p.Changed(t.Context(), horizon); !errors.Is(err, store.ErrHorizon) {
		t.Errorf("changed since a horizon of the other history: %v; want ErrHorizon", err)
	}
	if err := p.Suspend(t.Context(), horizon); err != nil { // not what it is for, and no harm
		t.Error(err)
	}
	resume(t, p, id, before.Cursor)
}

// TestACopyThatWasPutBackIsNoticed: it names the same history, so only who remembers how far that had come can tell.
func TestACopyThatWasPutBackIsNoticed(t *testing.T) {
	server, copied, p, before := rewindable(t)
	_, horizon, err := p.Changed(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	server.Kill() // a crash alone takes nothing back
	server.Start()
	if err := p.Suspend(t.Context(), horizon); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Changed(t.Context(), horizon); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	server.Copy() // neither does stopping
	if _, _, err := p.Changed(t.Context(), horizon); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	for range 2 { // the second time from a horizon that counts the first
		server.PutBack(copied, false)
		if _, _, err := p.Changed(t.Context(), horizon); !errors.Is(err, store.ErrRewound) {
			t.Fatalf("changed since before the copy was put back: %v; want ErrRewound", err)
		}
		if err := p.Suspend(t.Context(), horizon); err != nil {
			t.Fatal(err)
		}
		id := wantRewound(t, p, before.Cursor, true)
		resume(t, p, id, before.Cursor)
		// Another worker, which noticed it too, must not begin again.
		if err := p.Suspend(t.Context(), horizon); err != nil {
			t.Fatal(err)
		}
		if id, err := p.Rewound(t.Context()); err != nil || id.ID != "" {
			t.Errorf("suspended twice for one horizon: %+v, %v", id, err)
		}
		if _, _, err := p.Changed(t.Context(), horizon); !errors.Is(err, store.ErrHorizon) {
			t.Errorf("changed since a horizon from before that: %v; want ErrHorizon", err)
		}
		if _, horizon, err = p.Changed(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
}
