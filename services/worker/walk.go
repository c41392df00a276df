package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

const (
	pageSize = 500
	// minPause bounds what a walk over very many feeds costs: 10,000 feeds a second.
	minPause = 50 * time.Millisecond
	// firstPages is how many pages the first walk is paced for, when nobody knows how many there are.
	firstPages = 100
)

// walk goes over all feeds, page by page, again and again. It belongs to one goroutine.
type walk struct {
	*Worker
	after feed.Name // the last feed told; "": a walk begins
	begun time.Time
	pages int // told in this walk
	last  int // of the last walk; 0: this is the first
}

// step tells one page. After an error the same page is next.
func (w *walk) step(ctx context.Context) (time.Duration, error) {
	if w.pages == 0 {
		w.begun = time.Now()
	}
	page, err := w.store.Feeds(ctx, w.after, pageSize)
	if err != nil {
		return 0, fmt.Errorf("list feeds after %q: %w", w.after, err)
	}
	if rewound, err := w.rewound(ctx); err != nil || rewound {
		return w.sweepEvery, err // the same page again, when it is mended
	}
	if err := w.renewBehind(ctx, page); err != nil {
		return 0, err
	}
	if err := w.tellListed(ctx, page); err != nil {
		return 0, err
	}
	w.pages++
	left := w.walkEvery - time.Since(w.begun)
	if len(page) == pageSize {
		w.after = page[len(page)-1].Name
		expected := w.last
		if expected == 0 {
			expected = firstPages
		}
		// What is left of the time, over the pages that are left (this one's own pause included).
		return max(minPause, left/time.Duration(max(1, expected-w.pages+1))), nil
	}
	w.after, w.last, w.pages = "", w.pages, 0
	return max(minPause, left), nil
}

// renewBehind gives new epochs to feeds that the bus was told more of than the store has. A head is on the bus after its commit
// only, so such a store has lost commits, and nobody noticed: few were lost, or one was published after others had been
// looked for.
func (w *walk) renewBehind(ctx context.Context, page []store.Listed) error {
	renewer, ok := w.store.(store.Renewer)
	if !ok || len(page) == 0 {
		return nil
	}
	names := make([]feed.Name, 0, len(page))
	for _, l := range page {
		names = append(names, l.Name)
	}
	told, err := w.bus.Heads(ctx, names, 0)
	if err != nil {
		return fmt.Errorf("read the bus's heads: %w", err)
	}
	names = names[:0]
	var ahead []store.Listed
	for i, l := range page {
		if told[i].Cursor.Compare(l.Head) > 0 {
			ahead, names = append(ahead, store.Listed{Name: l.Name, Head: told[i].Cursor}), append(names, l.Name)
		}
	}
	if len(ahead) == 0 {
		return nil
	}
	heads, err := w.store.Heads(ctx, names) // most have only moved since the page was read
	if err != nil {
		return fmt.Errorf("read heads: %w", err)
	}
	behind := ahead[:0]
	for i, l := range ahead {
		if l.Head.Compare(heads[i]) > 0 {
			behind = append(behind, l)
		}
	}
	if len(behind) == 0 {
		return nil
	}
	w.log.ErrorContext(ctx, "the database lacks commits that the bus was told of; their feeds get new epochs",
		"feeds", len(behind), "first", behind[0].Name)
	renewed, err := renewer.Renew(ctx, behind)
	if err != nil {
		return fmt.Errorf("give feeds new epochs: %w", err)
	}
	return w.tellListed(ctx, renewed)
}
