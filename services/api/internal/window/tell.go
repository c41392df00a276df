package window

import (
	"context"
	"errors"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// Telling is st, and tells w of each write before the writer hears of it: so who has written reads it here, whatever the
// bus does.
func Telling(st store.Writer, w *Windows) store.Writer { return &telling{st, w} }

type telling struct {
	store.Writer
	w *Windows
}

func (t *telling) Append(ctx context.Context, name feed.Name, wr store.Write) (store.Written, error) {
	written, err := t.Writer.Append(ctx, name, wr)
	t.done(name, written.Cursor, err)
	return written, err
}

func (t *telling) Drop(ctx context.Context, name feed.Name, ifHead *feed.Cursor, once *store.Once) (feed.Cursor, error) {
	head, err := t.Writer.Drop(ctx, name, ifHead, once)
	t.done(name, head, err)
	return head, err
}

func (t *telling) done(name feed.Name, head feed.Cursor, err error) {
	var precondition *feed.PreconditionError
	switch {
	case err == nil:
		t.w.Told(name, head)
	case errors.As(err, &precondition), errors.Is(err, feed.ErrNoFeed), errors.Is(err, store.ErrRunning), errors.Is(err, store.ErrReused):
	default: // one that is repeated may have been done elsewhere
		t.w.Doubt(name)
	}
}
