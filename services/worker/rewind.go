package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// busPatience is how long a rewound database waits for a bus that is away: the bus knows which feeds are concerned, and without it
// all of them are.
const busPatience = 10 * time.Second

// rewind gives new epochs to feeds of which clients may have seen more than a rewound database has, and then has writes taken
// again. It belongs to one goroutine.
//
//	heads on the bus that are ahead of the store's ─▶ those feeds, also ones that aren't there any more
//	heads that the bus doesn't know                ─▶ those feeds
//	a bus that doesn't vouch for its heads         ─▶ all feeds
type rewind struct {
	*Worker
	rewindable store.Rewindable
	memory     bus.Memory // nil: this bus can't tell its heads
	noticed    time.Time  // zero: it isn't rewound
	renewed    int        // since then
}

// rewound tells whether the store waits to be mended: what was read of it before is of another history, and the bus would vouch
// for it.
func (w *Worker) rewound(ctx context.Context) (bool, error) {
	rewindable, ok := w.store.(store.Rewindable)
	if !ok {
		return false, nil
	}
	found, err := rewindable.Rewound(ctx)
	if err != nil {
		return false, fmt.Errorf("look whether the database was rewound: %w", err)
	}
	return found.ID != "", nil
}

// suspend is for a database that has gone back behind the horizon without knowing it.
func (r *rewind) suspend(ctx context.Context, since store.Horizon, why error) error {
	r.log.ErrorContext(ctx, "the database has gone back, as one does that an older copy was put in the place of", "error", why)
	if err := r.rewindable.Suspend(ctx, since); err != nil {
		return fmt.Errorf("suspend writes: %w", err)
	}
	return fmt.Errorf("writes are suspended: %w", why) // what follows begins with mend
}

// mend does nothing while all is well. After an error it begins again, and leaves those that are done.
func (r *rewind) mend(ctx context.Context) error {
	found, err := r.rewindable.Rewound(ctx)
	switch {
	case err != nil:
		return err
	case found.ID == "":
		r.noticed = time.Time{}
		return nil
	case r.noticed.IsZero():
		r.noticed, r.renewed = time.Now(), 0
		r.log.WarnContext(ctx, "the database has been rewound: it was restored, or a replica was promoted; it takes no writes until "+
			"the feeds concerned have new epochs", "history", found.ID)
	}
	if err := r.renewAll(ctx, found); err != nil {
		return fmt.Errorf("mend a rewound database: %w", err)
	}
	if err := r.rewindable.Resume(ctx, found.ID); err != nil {
		return fmt.Errorf("resume writes: %w", err)
	}
	r.log.WarnContext(ctx, "the database takes writes again", "history", found.ID, "new_epochs", r.renewed, "took", time.Since(r.noticed))
	return nil
}

// renewAll renews all feeds that are concerned.
func (r *rewind) renewAll(ctx context.Context, found store.Rewind) error {
	before, err := r.mark(ctx)
	switch {
	case errors.Is(err, bus.ErrUnavailable) && time.Since(r.noticed) > busPatience:
		r.log.WarnContext(ctx, "the bus can't say which feeds are concerned, so all are", "error", err)
		return r.eachPage(ctx, func(page []store.Listed) error { return r.renew(ctx, page) })
	case err != nil:
		return err
	}
	if found.Late || !before.Whole {
		if err := r.eachPage(ctx, func(page []store.Listed) error { return r.renew(ctx, page) }); err != nil {
			return err
		}
		return r.renewAhead(ctx) // those that aren't in the store any more
	}
	if err := r.renewAhead(ctx); err != nil {
		return err
	}
	if err := r.eachPage(ctx, func(page []store.Listed) error { return r.renewUnknown(ctx, page) }); err != nil {
		return err
	}
	after, err := r.mark(ctx)
	if err == nil && after.Life != before.Life {
		err = bus.ErrForgotten
	}
	return err
}

// mark is that of the bus; one that is not whole stands for a bus that can't tell its heads.
func (r *rewind) mark(ctx context.Context) (bus.Mark, error) {
	if r.memory == nil {
		return bus.Mark{}, nil
	}
	return r.memory.Mark(ctx)
}

// renewAhead renews the feeds whose heads on the bus are ahead of the store's.
func (r *rewind) renewAhead(ctx context.Context) error {
	if r.memory == nil {
		return nil
	}
	return r.memory.Told(ctx, func(told []bus.Told) error {
		names := make([]feed.Name, len(told))
		for i, t := range told {
			names[i] = t.Name
		}
		heads, err := r.store.Heads(ctx, names)
		if err != nil {
			return err
		}
		var ahead []store.Listed
		for i, t := range told {
			if t.Head.Cursor.Compare(heads[i]) > 0 {
				ahead = append(ahead, store.Listed{Name: t.Name, Head: t.Head.Cursor})
			}
		}
		return r.renew(ctx, ahead)
	})
}

// renewUnknown renews those of the feeds whose heads the bus doesn't know.
func (r *rewind) renewUnknown(ctx context.Context, page []store.Listed) error {
	names := make([]feed.Name, len(page))
	for i, l := range page {
		names[i] = l.Name
	}
	heads, err := r.bus.Heads(ctx, names, 0)
	if err != nil {
		return err
	}
	unknown := page[:0]
	for i, l := range page {
		if !heads[i].Known {
			unknown = append(unknown, l)
		}
	}
	return r.renew(ctx, unknown)
}

// renew tells the bus of the new epochs as far as it listens: the sweep does it again.
func (r *rewind) renew(ctx context.Context, seen []store.Listed) error {
	if len(seen) == 0 {
		return nil
	}
	heads, err := r.rewindable.Renew(ctx, seen)
	if err != nil {
		return err
	}
	r.renewed += len(heads)
	if err := r.tellListed(ctx, heads); err != nil && !errors.Is(err, bus.ErrUnavailable) {
		return err
	}
	return nil
}
