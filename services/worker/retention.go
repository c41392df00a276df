package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// purge removes the tombstones that each policy has kept for long enough.
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
	return w.purgeEvery, errors.Join(errs...)
}
