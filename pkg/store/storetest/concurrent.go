package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Load says how hard [Concurrent] tries.
type Load struct {
	Writers, Readers, Feeds int
	WritesEach              int
	Seed                    uint64
	// PutsOnly leaves out deletes, touches and trims.
	PutsOnly bool
	// OneEach leaves one edit in each write.
	OneEach bool
}

// DefaultLoad is 16 writers on 4 feeds followed by 8 readers.
var DefaultLoad = Load{Writers: 16, Readers: 8, Feeds: 4, WritesEach: 40, Seed: 1}

// Concurrent is the property that the whole system rests on, tried on a live store: while writers mix puts,
// deletes, batches and touches on a few feeds, readers follow with small limits, tombstones are purged and one feed is
// trimmed, every reader ends with exactly what the acknowledged writes say, and these take every seq once. It
// returns what is wrong, nil for nothing. A store that takes seqs outside the feed's lock fails it.
func Concurrent(ctx context.Context, s store.Store, load Load) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	r := &run{store: s, load: load, acks: make(map[feed.Name][]ack)}

	var writers, followers sync.WaitGroup
	written := make(chan struct{}) // closed when the last writer is done
	for i := range load.Writers {
		writers.Go(func() { r.note(r.writer(ctx, i)) })
	}
	for i := range load.Readers {
		followers.Go(func() { r.note(r.follow(ctx, i, written)) })
	}
	followers.Go(func() { r.note(r.purge(ctx, written)) })
	writers.Wait()
	close(written)
	followers.Wait()
	return errors.Join(r.errs...)
}

type run struct {
	store store.Store
	load  Load

	mu   sync.Mutex
	acks map[feed.Name][]ack
	errs []error
}

func (r *run) note(err error) {
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs = append(r.errs, err)
	}
}

func (r *run) feedName(i int) feed.Name { return feed.Name(fmt.Sprintf("load:%d", i%r.load.Feeds)) }

// trimmedFeed is the one that holds a few items only.
const trimmedFeed feed.Name = "load:0"

func (r *run) writer(ctx context.Context, id int) error {
	rng := rand.New(rand.NewPCG(r.load.Seed, uint64(id)))
	for n := range r.load.WritesEach {
		name := r.feedName(rng.IntN(r.load.Feeds))
		w := randomWrite(rng, fmt.Sprintf("%d.%d", id, n), 40)
		switch {
		case r.load.PutsOnly:
			w.Touch = false
			w.Edits = slices.DeleteFunc(w.Edits, func(e feed.Edit) bool { return e.Deleted })
			if len(w.Edits) == 0 {
				continue
			}
		case name == trimmedFeed:
			w.MaxItems = 15
		}
		if r.load.OneEach {
			w.Edits = w.Edits[:1]
		}
		written, err := r.store.Append(ctx, name, w)
		if err != nil {
			return fmt.Errorf("writer %d: %w", id, err)
		}
		r.mu.Lock()
		if !written.Cursor.IsZero() {
			r.acks[name] = append(r.acks[name], ack{w, written})
		}
		r.mu.Unlock()
	}
	return nil
}

// randomWrite mixes puts and deletes on a set of shared keys and puts of keys that nobody else writes: what is skipped
// among those is never covered up by a later write.
func randomWrite(rng *rand.Rand, tag string, keys int) store.Write {
	var w store.Write
	for i := range 1 + rng.IntN(4)*rng.IntN(3) {
		e := feed.Edit{Key: fmt.Sprintf("k%d", rng.IntN(keys))}
		switch p := rng.IntN(10); {
		case p < 3:
			e.Deleted = true
		case p < 6:
			e.Key = fmt.Sprintf("own-%s.%d", tag, i)
		}
		if !e.Deleted {
			e.Value = fmt.Appendf(nil, `{"by": "%s.%d"}`, tag, i)
		}
		w.Edits = append(w.Edits, e)
	}
	w.Touch = rng.IntN(12) == 0
	return w
}

func (r *run) follow(ctx context.Context, id int, written <-chan struct{}) error {
	rng := rand.New(rand.NewPCG(r.load.Seed+1, uint64(id)))
	name := r.feedName(id)
	reader := newReplica(r.store, name)
	for done, more := false, false; !done; {
		pause := time.After(time.Duration(rng.IntN(3)) * time.Millisecond) // writers want the processor too
		if more {
			pause = time.After(0)
		}
		select {
		case <-written:
			done = true
		case <-pause:
		}
		var err error
		if more, err = reader.pull(ctx, 1+rng.IntN(6)); err != nil {
			return fmt.Errorf("reader %d of %s: %w", id, name, err)
		}
	}
	if err := reader.catchUp(ctx, 7); err != nil {
		return fmt.Errorf("reader %d of %s: %w", id, name, err)
	}
	fresh := newReplica(r.store, name)
	if err := fresh.catchUp(ctx, 100); err != nil {
		return fmt.Errorf("snapshot of %s: %w", name, err)
	}
	r.mu.Lock()
	acks := r.acks[name]
	r.mu.Unlock()
	want, err := truthOf(acks)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var errs []error
	if diff := sameItems(reader.items, want.items); diff != "" {
		errs = append(errs, &SkippedError{fmt.Sprintf("reader %d of %s at %s (%d pages, %d resets): %s",
			id, name, reader.cursor, reader.pages, reader.resets, diff)})
	}
	if diff := sameItems(fresh.items, want.items); diff != "" {
		errs = append(errs, fmt.Errorf("the snapshot of %s at %s: %s", name, fresh.cursor, diff))
	}
	return errors.Join(errs...)
}

// SkippedError says that a reader that followed a feed ended with something else than the truth.
type SkippedError struct{ what string }

func (e *SkippedError) Error() string { return e.what }

// purge keeps removing tombstones that are a moment old until the writers are done.
func (r *run) purge(ctx context.Context, written <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-written:
			return nil
		case <-tick.C:
		}
		if _, err := r.store.Purge(ctx, feed.Scope{Except: true}, time.Now().Add(-100*time.Millisecond)); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
}
