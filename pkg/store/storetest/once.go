package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// once names a write and what it asks for; its answer is the outcome in words.
func once(id, asked string) *store.Once {
	return &store.Once{ID: sha256.Sum256([]byte(id)), Digest: sha256.Sum256([]byte(asked)), Answer: inWords}
}

func inWords(w store.Written, err error) []byte {
	if err != nil {
		return fmt.Appendf(nil, "refused: %v", err)
	}
	return fmt.Appendf(nil, "%s from %d", w.Cursor, w.First)
}

// wantRepeated checks that the write was done before, with that answer.
func (e *env) wantRepeated(what string, err error, answer []byte) {
	e.t.Helper()
	repeated, ok := errors.AsType[*store.Repeated](err)
	if !ok || string(repeated.Answer) != string(answer) {
		e.t.Errorf("%s: %+v; want the answer %q repeated", what, err, answer)
	}
}

func testOnce(t *testing.T, e *env) {
	w := store.Write{Edits: puts("a", "b"), Once: once("1", "a and b")}
	written := e.append("f", w)
	_, err := e.Append(e.ctx, "f", w)
	e.wantRepeated("again", err, inWords(written, nil))
	w.Once = once("1", "something else")
	if _, err := e.Append(e.ctx, "f", w); !errors.Is(err, store.ErrReused) {
		t.Errorf("another write under the same name: %v; want ErrReused", err)
	}
	// A name is one over all feeds and kinds of writes: what it comprises is its maker's business.
	if _, err := e.Drop(e.ctx, "f", nil, once("1", "drop")); !errors.Is(err, store.ErrReused) {
		t.Errorf("a drop under the same name: %v; want ErrReused", err)
	}
	if head := e.head("f"); head != written.Cursor {
		t.Errorf("the head is %s; want %s: the write happened once", head, written.Cursor)
	}
	w.Once = once("2", "a and b")
	if again := e.append("f", w); again.First != written.Cursor.Seq+1 {
		t.Errorf("the same write under another name gave %+v", again)
	}
	w.Once = nil
	e.append("f", w)

	// What changes nothing is kept as well.
	none := store.Write{Edits: []feed.Edit{{Key: "x", Deleted: true}}, Once: once("3", "delete x")}
	nothing := e.append("unborn", none)
	e.put("unborn", "x")
	_, err = e.Append(e.ctx, "unborn", none)
	e.wantRepeated("a write that had nothing to do", err, inWords(nothing, nil))
	e.delta("unborn", feed.Cursor{}, 10)
}

// testOnceRefused: a refusal stays one, also when the reason is gone.
func testOnceRefused(t *testing.T, e *env) {
	absent := feed.Cursor{}
	head := e.put("f", "a").Cursor
	w := store.Write{Edits: puts("a"), IfHead: &absent, Once: once("1", "a")}
	_, err := e.Append(e.ctx, "f", w)
	refusal, ok := errors.AsType[*feed.PreconditionError](err)
	if !ok || refusal.Current != head {
		t.Fatalf("a write whose condition doesn't hold: %v", err)
	}
	answer := inWords(store.Written{}, err)
	if _, err := e.Drop(e.ctx, "f", nil, once("drop", "")); err != nil {
		t.Fatal(err)
	}
	_, err = e.Append(e.ctx, "f", w)
	e.wantRepeated("a refused write", err, answer)

	item := store.Write{Edits: []feed.Edit{{Key: "k", Value: []byte("1"), If: &head}}, Once: once("2", "k")}
	_, err = e.Append(e.ctx, "unborn", item)
	if _, ok := errors.AsType[*feed.PreconditionError](err); !ok {
		t.Errorf("a write whose condition on an item doesn't hold: %v", err)
	}
	_, again := e.Append(e.ctx, "unborn", item)
	e.wantRepeated("that write", again, inWords(store.Written{}, err))
	if _, err := e.Delta(e.ctx, "unborn", store.Query{Limit: 1, MaxBytes: 1}); !errors.Is(err, feed.ErrNoFeed) {
		t.Errorf("a refused write left a feed behind: %v", err)
	}

	if _, err := e.Drop(e.ctx, "none", nil, once("3", "")); !errors.Is(err, feed.ErrNoFeed) {
		t.Errorf("drop of no feed: %v", err)
	}
	e.put("none", "a")
	_, err = e.Drop(e.ctx, "none", nil, once("3", ""))
	e.wantRepeated("a drop of what wasn't there", err, inWords(store.Written{}, feed.ErrNoFeed))
	e.delta("none", feed.Cursor{}, 1)
}

func testOnceDrop(t *testing.T, e *env) {
	e.put("f", "a")
	head, err := e.Drop(e.ctx, "f", nil, once("1", "drop"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Drop(e.ctx, "f", nil, once("1", "drop"))
	e.wantRepeated("a second drop", err, inWords(store.Written{Cursor: head}, nil))
	if now := e.head("f"); now != head {
		t.Errorf("the head is %s; want %s", now, head)
	}
}

// testOnceTogether: of many at once one writes, and all that are told anything are told the same.
func testOnceTogether(t *testing.T, e *env) {
	const rounds, callers = 10, 8
	for round := range rounds {
		name := fmt.Sprintf("round:%d", round)
		var mu sync.Mutex
		var answers []string
		did := 0
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for {
					w, err := e.Append(e.ctx, "f", store.Write{Touch: true, Once: once(name, "touch")})
					if errors.Is(err, store.ErrRunning) {
						time.Sleep(time.Millisecond)
						continue
					}
					answer := inWords(w, err)
					mu.Lock()
					defer mu.Unlock()
					if repeated, ok := errors.AsType[*store.Repeated](err); ok {
						answer = repeated.Answer
					} else if err == nil {
						did++
					}
					answers = append(answers, string(answer))
					return
				}
			})
		}
		all.Wait()
		want := string(inWords(store.Written{Cursor: e.head("f"), First: int64(round) + 1}, nil))
		for _, a := range answers {
			if a != want || did != 1 {
				t.Fatalf("round %d: %d wrote; an answer is %q, want %q", round, did, a, want)
			}
		}
	}
}

func testForget(t *testing.T, e *env) {
	w := store.Write{Touch: true, Once: once("old", "touch")}
	first := e.append("f", w)
	e.advance(time.Hour)
	middle := e.now()
	recent := store.Write{Touch: true, Once: once("recent", "touch")}
	second := e.append("f", recent)
	if n, err := e.Forget(e.ctx, middle); n != 1 || err != nil {
		t.Errorf("forgot %d, %v; want 1", n, err)
	}
	_, err := e.Append(e.ctx, "f", recent)
	e.wantRepeated("a recent one", err, inWords(second, nil))
	if again := e.append("f", w); again.First != first.First+2 {
		t.Errorf("a forgotten write gave %+v", again)
	}
	if n, err := e.Forget(e.ctx, e.now().Add(time.Hour)); n != 2 || err != nil {
		t.Errorf("forgot %d, %v; want 2", n, err)
	}
}
