package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
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
