package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// tellEvery is how often the log is told that a job still fails.
	tellEvery = time.Minute
)

// repeat does step, first after the given time, until ctx ends. step says how long to pause before the next; after an
// error the pause is a backoff of at most maxRetry.
func (w *Worker) repeat(ctx context.Context, job string, maxRetry, pause time.Duration, step func(context.Context) (time.Duration, error)) {
	var told time.Time // that it fails; zero: it works
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = min(firstRetry, maxRetry), maxRetry
	for sleep(ctx, pause) {
		next, err := step(ctx)
		switch {
		case ctx.Err() != nil: // an error would be of our own making
			return
		case err != nil:
			pause = retry.NextBackOff()
			level := slog.LevelDebug
			if time.Since(told) >= tellEvery {
				level, told = slog.LevelWarn, time.Now()
			}
			w.log.Log(ctx, level, "a background job failed and will be retried", "job", job, "error", err, "retry_in", pause)
		default:
			if !told.IsZero() {
				w.log.InfoContext(ctx, "a background job works again", "job", job)
			}
			told = time.Time{}
			retry.Reset()
			pause = jitter(next)
		}
	}
}

// sleep tells whether ctx goes on after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// jitter is d, give or take up to a tenth.
func jitter(d time.Duration) time.Duration { return d - d/10 + spread(d/5) }

// spread is anything from 0 to d.
func spread(d time.Duration) time.Duration { return rand.N(d + 1) }
