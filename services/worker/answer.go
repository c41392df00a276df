package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// answerWithin bounds one answer: nobody waits for it any more by then, and others are to be asked for.
const answerWithin = 10 * time.Second

// answer is a [bus.Answerer]. What can't be found out stays unknown, and is asked for again by whoever wants to know.
func (w *Worker) answer(ctx context.Context, names []feed.Name) {
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := w.tell(ctx, names); err != nil && asked.Err() == nil {
		w.log.WarnContext(asked, "heads that the bus asked for could not be told", "feeds", len(names), "error", err)
	}
}

func (w *Worker) tell(ctx context.Context, names []feed.Name) error {
	heads, err := w.store.Heads(ctx, names)
	if err != nil {
		return fmt.Errorf("read heads: %w", err)
	}
	if rewound, err := w.rewound(ctx); err != nil || rewound {
		return err // they stay unknown until it is mended
	}
	listed := make([]store.Listed, len(heads))
	for i, head := range heads {
		listed[i] = store.Listed{Name: names[i], Head: head} //nolint:gosec // Heads gives one for each name
	}
	return w.tellListed(ctx, listed)
}
