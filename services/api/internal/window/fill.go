package window

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// fill is one question to the store, for everybody who wants it before it is asked.
type fill struct {
	done chan struct{}
	want want  // guarded by Feed.mu until number is given
	told bool  // guarded by Feed.mu: of a write, while it was under way
	err  error // set before done
	// number is given when it begins, under Feed.mu: everything that was committed before is in its answer.
	number uint64
}

// fillLocked has a fill begin, now or after the one under way, and gives it. nil: the Windows are closed.
func (f *Feed) fillLocked(n want) *fill {
	if f.closed {
		return nil
	}
	if f.filling != nil {
		if f.next == nil {
			f.next = &fill{done: make(chan struct{})}
		}
		f.next.want = f.next.want.and(n)
		return f.next
	}
	fl := &fill{done: make(chan struct{}), want: n}
	if !f.beginLocked(fl) {
		return nil
	}
	return fl
}

func (f *Feed) beginLocked(fl *fill) bool {
	f.begun++
	fl.number = f.begun
	f.filling = fl
	v, life := f.view, f.w.life.Load()
	fl.want.enough = f.enoughLocked(fl.want, life)
	if !f.w.spawn(func() { f.fill(fl, v, life) }) {
		f.filling = nil
		fl.err = ErrClosed
		close(fl.done)
		return false
	}
	return true
}

// enoughLocked is the head that an answer has to cover for a read replica to give it: what was told and what is held, if nothing
// newer can have been missed. Zero: the primary has to.
func (f *Feed) enoughLocked(n want, life uint64) feed.Cursor {
	if n.primary || !f.live || !f.head.Known || f.toldIn != life || f.doubtfulLocked() || !f.w.trusted() {
		return feed.Cursor{}
	}
	enough := n.enough
	if f.head.Cursor.Compare(enough) > 0 {
		enough = f.head.Cursor
	}
	if f.view != nil && f.view.Head.Compare(enough) > 0 { // the store may have told of more than the bus has
		enough = f.view.Head
	}
	return enough
}

func (f *Feed) fill(fl *fill, v *View, life uint64) {
	loaded, err := f.w.load(f.name, v, fl.want)
	f.mu.Lock()
	f.filling = nil
	fl.err = err
	again := f.failed
	f.failed = gone(err)
	f.gone = f.failed && (again || !fl.told) // who has written meanwhile can reach the store, but not twice what we can't
	if err == nil {
		f.takeLocked(fl, loaded, life)
	}
	close(fl.done)
	if next := f.next; next != nil {
		f.next = nil
		if f.gone { // they have waited for it to be found out, and need not wait once more
			next.err = err
			close(next.done)
		} else {
			f.beginLocked(next)
		}
	}
	if err != nil {
		f.restLocked()
	}
	f.mu.Unlock()
	if err != nil {
		if f.w.ctx.Err() == nil {
			f.w.opts.Logger.Debug("a window could not be filled", "feed", f.name, "error", err)
		}
		return
	}
	f.w.reweigh(f)
	f.w.opts.Found(f.name, loaded.view.Head)
}

// takeLocked makes what was loaded the feed's, and wakes those whose floor it meets.
func (f *Feed) takeLocked(fl *fill, l loading, life uint64) {
	f.view, f.seen, f.life = l.view, fl.number, life
	f.held.Store(l.view)
	if l.large {
		f.large = l.view.Head.Epoch
	}
	if !l.far.IsZero() && (l.far.Epoch != f.far.Epoch || l.far.Seq > f.far.Seq) {
		f.far = l.far
	}
	f.pace.moved(l.view.Head, time.Now())
	f.believeLocked()
	for n := f.polls.first; n != nil; n = n.next {
		if n.floor.Met(l.view.Head) {
			n.poll.rouse()
		}
	}
}

// loading is what a question came to.
type loading struct {
	view  *View
	large bool        // all items were wanted, and don't fit
	far   feed.Cursor // nor does a delta from here
}

// load asks the store for what v lacks.
func (w *Windows) load(name feed.Name, v *View, n want) (l loading, err error) {
	defer func() {
		if p := recover(); p != nil { // it would take the process down, not one request
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, end := traceFill(w.ctx, n.by)
	defer func() { end(err) }()
	ctx, cancel := context.WithTimeout(ctx, w.opts.ReadTimeout)
	defer cancel()
	if v != nil && !v.Exists() {
		v = nil
	}
	const tries = 3 // the feed may be dropped once more in between
	for try := 1; ; try++ {
		l, err = w.loadOnce(ctx, name, v, n)
		var reset *feed.ResetError
		if try == tries || !errors.As(err, &reset) {
			return l, err
		}
		// What was held is of no use any more, or a reader is lost. From the head on, all is known.
		n.whole = n.whole || reset.Head.Seq == 0 || (v != nil && v.whole)
		n.since, n.enough = reset.Head, feed.Cursor{}
		v = nil
	}
}

func (w *Windows) loadOnce(ctx context.Context, name feed.Name, v *View, n want) (loading, error) {
	q := store.Query{Limit: w.most.rows, MaxBytes: w.most.bytes, Enough: n.enough}
	whole := false
	switch {
	case v == nil && (n.whole || n.since.IsZero()), v != nil && n.whole && !v.whole:
		whole = true
	case v == nil:
		q.Since, q.BareSeq = n.since, n.since.Epoch == 0
	case !n.since.IsZero() && n.since.Seq < v.base && (n.since.Epoch == 0 || n.since.Epoch == v.Head.Epoch):
		q.Since = feed.Cursor{Epoch: v.Head.Epoch, Seq: n.since.Seq}
	default:
		q.Since = v.Head
	}
	if q.Since.Seq == 0 { // for the store that is the beginning, which a delta of changes is not
		q.Since, q.BareSeq, whole = feed.Cursor{}, false, true
	}
	d, err := w.opts.Store.Delta(ctx, name, q)
	switch {
	case errors.Is(err, feed.ErrNoFeed):
		return loading{view: &View{}}, nil
	case err != nil:
		return loading{}, err
	}
	if v != nil && v.Head.Compare(d.Head) > 0 { // the store has gone back: v may lack what it has let go of for newer changes
		v = nil
	}
	switch {
	case whole && !d.More:
		l := loading{view: v.completed(d, w.most)}
		l.large = !l.view.whole
		return l, nil
	case !d.More:
		return loading{view: v.advanced(d, w.most)}, nil
	}
	l := loading{view: v, large: whole}
	if !whole && (v == nil || q.Since != v.Head) {
		l.far = d.Since
	}
	if v == nil || v.Head != d.Head { // what lies between is too much: begin at the head
		l.view = newView(d.Head, d.Trimmed, d.Head.Seq, false, nil)
	}
	return l, nil
}
