package gormstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// replicated is a store on a primary and a replica of the test's own.
type replicated struct {
	*Postgres
	t                *testing.T
	primary, replica *testkit.PostgresServer
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{t: t, primary: testkit.NewPostgres(t)}
	if _, err := Migrate(t.Context(), r.primary.URL); err != nil {
		t.Fatal(err)
	}
	r.replica = r.primary.Replica(t)
	r.Postgres = openPostgresAt(t, r.primary.URL, patiently(Options{Replicas: []string{r.replica.URL}}))
	return r
}

func (r *replicated) touch(name feed.Name) feed.Cursor {
	r.t.Helper()
	w, err := r.Append(r.t.Context(), name, store.Write{Edits: []feed.Edit{{Key: "k", Value: []byte("1")}}})
	if err != nil {
		r.t.Fatal(err)
	}
	return w.Cursor
}

// replayed waits until the replica has a feed at that head.
func (r *replicated) replayed(name feed.Name, head feed.Cursor) {
	r.t.Helper()
	query := fmt.Sprintf("SELECT head FROM feeds WHERE name = '%s'", name)
	r.eventually("the replica comes up to "+head.String(), func() bool { return r.replica.Exec(query) == fmt.Sprint(head.Seq) })
}

func (r *replicated) eventually(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within 30s: %s", what)
		}
	}
}

// read reads with enough as what is enough, which the answer has to cover, and tells whether it was the replica's.
func (r *replicated) read(name feed.Name, since, enough feed.Cursor) (byReplica bool) {
	r.t.Helper()
	before := r.ReplicaStats()
	d, err := r.Delta(r.t.Context(), name, store.Query{Since: since, Limit: 10, MaxBytes: 1 << 20, Enough: enough})
	if err != nil || !d.Head.Covers(enough) {
		r.t.Fatalf("a read of %s that wants %s got %+v, %v", name, enough, d, err)
	}
	return r.ReplicaStats().Answered > before.Answered
}

func (r *replicated) servedByReplica(name feed.Name, enough feed.Cursor) {
	r.t.Helper()
	r.eventually("the replica answers", func() bool { return r.read(name, feed.Cursor{}, enough) })
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	r := newReplicated(t)
	old := r.touch("a")
	r.replayed("a", old)
	r.servedByReplica("a", old)
	if r.read("a", feed.Cursor{}, feed.Cursor{}) {
		t.Error("a read that doesn't say what is enough was the replica's")
	}

	// Behind: it answers for what it has, and for nothing newer.
	r.replica.Exec("SELECT pg_wal_replay_pause()")
	r.eventually("replay is paused", func() bool { return r.replica.Exec("SELECT pg_get_wal_replay_pause_state()") == "paused" })
	head := r.touch("a")
	born := r.touch("b")
	for range 20 {
		if r.read("a", feed.Cursor{}, head) || r.read("a", old, head) {
			t.Fatal("the replica answered for what it doesn't have")
		}
		if r.read("b", feed.Cursor{}, born) {
			t.Fatal("the replica answered for a feed that it doesn't know")
		}
	}
	if r.ReplicaStats().Behind == 0 {
		t.Error("it wasn't asked at all")
	}
	// A reader that is ahead of the replica isn't ahead of the feed, so it is no reset. Neither does its head count.
	r.eventually("the replica is asked about a reader that is ahead of it", func() bool {
		before := r.ReplicaStats().Behind
		if r.read("a", head, old) {
			t.Fatal("the replica answered a reader that is ahead of it")
		}
		return r.ReplicaStats().Behind > before
	})
	heads, err := r.Heads(t.Context(), []feed.Name{"a", "b"})
	if err != nil || heads[0] != head || heads[1] != born {
		t.Errorf("the heads are %v, %v", heads, err)
	}
	r.servedByReplica("a", old)
	_, err = r.Delta(t.Context(), "a", store.Query{Since: feed.Cursor{Epoch: head.Epoch, Seq: 99}, Limit: 1, MaxBytes: 1, Enough: old})
	if reset, ok := errors.AsType[*feed.ResetError](err); !ok || reset.Head != head {
		t.Errorf("a reader ahead of the feed: %v; want a reset with the primary's head %s", err, head)
	}
	r.replica.Exec("SELECT pg_wal_replay_resume()")
	r.replayed("a", head)
	r.servedByReplica("a", head)

	// Down: the primary answers, and then the replica again.
	r.replica.Stop()
	for range 5 {
		if r.read("a", feed.Cursor{}, head) {
			t.Fatal("a replica that is down answered")
		}
	}
	r.replica.Start()
	r.servedByReplica("a", head)

	// The primary down: what the replica has can be read on.
	r.primary.Stop()
	for range 5 {
		if _, err := r.Delta(t.Context(), "a", store.Query{Limit: 1, MaxBytes: 1, Enough: head}); err != nil {
			t.Errorf("with the primary down: %v", err)
		}
	}
	_, err = r.Delta(t.Context(), "a", store.Query{Limit: 1, MaxBytes: 1, Enough: feed.Cursor{Epoch: head.Epoch, Seq: head.Seq + 1}})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("what only the primary could have: %v; want ErrUnavailable", err)
	}
	r.primary.Start()
}

// TestReplicasOfAnotherHistory: a database that isn't a standby, or whose feeds are of another history, is never believed.
func TestReplicasOfAnotherHistory(t *testing.T) {
	t.Parallel()
	r := newReplicated(t)
	head := r.touch("a")
	r.replayed("a", head)
	r.servedByReplica("a", head)

	stranger := openPostgresTest(t, patiently(Options{}))
	if _, err := stranger.Append(t.Context(), "a", store.Write{Touch: true}); err != nil {
		t.Fatal(err)
	}
	other := openPostgresAt(t, r.primary.URL, patiently(Options{Replicas: []string{testkit.Postgres(t).URL, r.primary.URL}}))
	for range 5 {
		if _, err := other.Delta(t.Context(), "a", store.Query{Limit: 1, MaxBytes: 1, Enough: head}); err != nil {
			t.Fatal(err)
		}
	}
	if s := other.ReplicaStats(); s.Answered != 0 {
		t.Errorf("a database that is no replica answered: %+v", s)
	}

	// The primary begins another history, of which the replica doesn't hear any more.
	r.replica.Exec("SELECT pg_wal_replay_pause()")
	r.eventually("replay is paused", func() bool { return r.replica.Exec("SELECT pg_get_wal_replay_pause_state()") == "paused" })
	r.primary.Exec("UPDATE lineage SET gone_back = gone_back + 1")
	r.eventually("the replica is not believed any more", func() bool { return !r.read("a", feed.Cursor{}, head) })
	before := r.ReplicaStats().Answered
	for range 20 {
		r.read("a", feed.Cursor{}, head)
	}
	if r.ReplicaStats().Answered > before {
		t.Error("a replica of another history answered")
	}

	// Nor is one that has the very row of a primary that was rewound, and whose feeds have no new epochs yet.
	r.replica.Exec("SELECT pg_wal_replay_resume()")
	follows := func() bool {
		same, err := r.replicas.all[0].follows(t.Context(), r.Postgres)
		return err == nil && same
	}
	r.eventually("it is believed again", follows)
	r.primary.Exec("UPDATE lineage SET system_id = '1.1'")
	r.eventually("the replica has the row", func() bool { return r.replica.Exec("SELECT system_id FROM lineage") == "1.1" })
	if follows() {
		t.Error("a replica of a rewound primary is believed")
	}
}

func TestBadReplicaURL(t *testing.T) {
	_, err := OpenPostgres(t.Context(), "postgres://127.0.0.1:1/d", Options{Replicas: []string{"postgres://h:notaport/d"}})
	if err == nil {
		t.Error("it was taken")
	}
}
