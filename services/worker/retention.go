package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

// purge removes the tombstones that each policy has kept for long enough, and the outcomes of writes that nobody asks for any
// more.
func (w *Worker) purge(ctx context.Context) (time.Duration, error) {
	var errs []error
	for _, p := range w.policies.All() {
		if p.Retention <= 0 {
			continue
		}
		// One policy's trouble must not keep the others' tombstones for ever.
		n, err := w.store.Purge(ctx, p.Scope, time.Now().Add(-p.Retention))
		if err != nil {
			errs = append(errs, fmt.Errorf("purge tombstones of %+v: %w", p.Scope, err))
		}
		if n > 0 {
			w.log.DebugContext(ctx, "purged tombstones", "scope", p.Scope, "count", n)
		}
	}
	if _, err := w.store.Forget(ctx, time.Now().Add(-store.OutcomesKept)); err != nil {
		errs = append(errs, fmt.Errorf("forget outcomes: %w", err))
	}
	return w.purgeEvery, errors.Join(errs...)
}
