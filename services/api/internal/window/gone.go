package window

import (
	"errors"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/admission"
)

// gonePause is how long a store that couldn't answer is left alone by those who wait, or have been answered from memory.
const gonePause = time.Second

// gone tells whether a question has come to nothing in a way that the next one would as well: there is no database to ask, or no
// place for a question. A rewound one answers: that it can't tell yet.
func gone(err error) bool {
	return (errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrRewound)) || errors.Is(err, admission.ErrBusy)
}

// lastLocked answers q from the View while the store can't be asked: what is in memory goes on being read, also where a newer head
// is known, or a write has failed of which nobody knows what has become of it. (Otherwise a hot feed that is written to would be
// unreadable as soon as the database is.) The reader's floor holds, and so does what it knows; nor is anything served when signals
// may have been missed, or the feed was dropped. The store goes on being asked, once a second.
func (f *Feed) lastLocked(q store.Query, floor Floor) (Reading, bool) {
	v := f.view
	if !f.gone || v == nil || !f.live || f.life != f.w.life.Load() || f.seen <= f.missed ||
		(f.head.Known && f.head.Cursor.Epoch != v.Head.Epoch) || !f.w.trusted() || !floor.Met(v.Head) || ahead(q, v) {
		return Reading{}, false
	}
	d, err := v.Delta(q)
	if err != nil {
		return Reading{}, false
	}
	if f.filling == nil && !f.resting {
		f.fillLocked(want{})
	}
	d.Feed = f.name
	return Reading{Delta: d, View: v}, true
}

// restLocked leaves the store alone for a while after it was gone, or too slow. Then it is asked on behalf of those who wait
// for what it has been told to have: no signal will say that it is well again.
func (f *Feed) restLocked() {
	if f.resting {
		return
	}
	f.resting = true
	time.AfterFunc(gonePause, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.resting = false
		waited := !f.polls.empty() && (f.doubtfulLocked() || f.polls.anyMet(f.head.Cursor))
		if f.filling == nil && !f.retired.Load() && waited {
			f.fillLocked(want{})
		}
	})
}
