package window

import (
	"context"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	// followTimeout bounds one call of Follow, followRetry is the pause after one that failed.
	followTimeout = 2 * time.Second
	followRetry   = 250 * time.Millisecond
	// followBatch is the most feeds of one call; followers the most calls at a time.
	followBatch = 500
	followers   = 4
)

// follow is one feed's place in the subscription. Follow and Unfollow of one feed must not race, so a worker that has
// taken it up (busy) is the only one to call either. Guarded by Windows.mu.
type follow struct {
	name   feed.Name
	wanted bool
	live   bool // Follow has succeeded
	queued bool
	busy   bool
}

// followLocked has the feed followed.
func (w *Windows) followLocked(f *Feed) {
	fo := w.follows[f.name]
	if fo == nil {
		fo = &follow{name: f.name}
		w.follows[f.name] = fo
	}
	fo.wanted = true
	if fo.live && !fo.busy {
		// It still is. What was signalled while nobody listened, the feed's first fill will see: it has yet to begin.
		f.followed(bus.Head{})
		return
	}
	w.changeLocked(fo)
}

func (w *Windows) unfollowLocked(name feed.Name) {
	if fo := w.follows[name]; fo != nil {
		fo.wanted = false
		w.changeLocked(fo)
	}
}

// changeLocked has a worker bring the follow to what is wanted.
func (w *Windows) changeLocked(fo *follow) {
	if fo.queued || fo.busy || w.closed {
		return
	}
	fo.queued = true
	w.queue = append(w.queue, fo)
	if w.workers < followers && w.spawn(w.work) {
		w.workers++
	}
}

// work follows and unfollows until nothing is left to do.
func (w *Windows) work() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && !w.closed {
		n := min(followBatch, len(w.queue))
		var join, leave []*follow
		for _, fo := range w.queue[:n] {
			fo.queued = false
			switch {
			case fo.wanted && !fo.live:
				fo.busy = true
				join = append(join, fo)
			case !fo.wanted && fo.live:
				fo.busy = true
				leave = append(leave, fo)
			case !fo.wanted:
				delete(w.follows, fo.name)
			}
		}
		if w.queue = w.queue[n:]; len(w.queue) == 0 {
			w.queue = nil
		}
		w.mu.Unlock()
		if len(leave) > 0 {
			w.sub.Unfollow(namesOf(leave)...)
		}
		var heads []bus.Head
		var err error
		if len(join) > 0 {
			ctx, cancel := context.WithTimeout(w.ctx, followTimeout)
			heads, err = w.sub.Follow(ctx, namesOf(join)...)
			cancel()
		}
		w.mu.Lock()
		w.leftLocked(leave)
		w.joinedLocked(join, heads, err)
	}
	w.workers--
}

func (w *Windows) leftLocked(leave []*follow) {
	for _, fo := range leave {
		fo.busy, fo.live = false, false
		if fo.wanted {
			w.changeLocked(fo)
			continue
		}
		delete(w.follows, fo.name)
	}
}

func (w *Windows) joinedLocked(join []*follow, heads []bus.Head, err error) {
	for i, fo := range join {
		fo.busy = false
		if err == nil {
			fo.live = true
			if !fo.wanted {
				w.changeLocked(fo)
			} else if f := w.feeds[fo.name]; f != nil {
				f.followed(heads[i])
			}
			continue
		}
		if !fo.wanted {
			delete(w.follows, fo.name)
			continue
		}
		// Until then the store is asked.
		time.AfterFunc(followRetry, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.follows[fo.name] == fo {
				w.changeLocked(fo)
			}
		})
	}
}

func namesOf(all []*follow) []feed.Name {
	names := make([]feed.Name, len(all))
	for i, fo := range all {
		names[i] = fo.name
	}
	return names
}

// follower is Windows as the bus sees it.
type follower Windows

var _ bus.Follower = (*follower)(nil)

func (fw *follower) Signal(name feed.Name, h bus.Head) {
	if f := (*Windows)(fw).known(name); f != nil {
		f.told(h)
	}
}

// Alive ends all belief in what was loaded before: signals may have been lost, and so may heads.
func (fw *follower) Alive(alive bool) {
	w := (*Windows)(fw)
	w.life.Add(1) // what is loaded meanwhile isn't believed later, either
	w.lost.Store(!alive)
}
