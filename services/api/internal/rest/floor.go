package rest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/atleast"
)

// delta reads from the store what p asks for, waiting where the store is behind at_least.
func (s *Server) delta(ctx context.Context, name feed.Name, p params) (feed.Delta, error) {
	q := store.Query{Since: p.since, BareSeq: p.sinceBare, Limit: p.limit, MaxBytes: maxResponseBytes}
	if p.atLeast.IsZero() {
		// Not shared: who has just written wants to see it, and doesn't say so.
		ctx, cancel := context.WithTimeout(ctx, s.ReadTimeout)
		defer cancel()
		return s.Store.Delta(ctx, name, q)
	}
	until := time.Now().Add(s.AtLeastWait)
	d, err := s.sharedDelta(ctx, name, q, atleast.Floor{})
	if met, told := meets(p.atLeast, d, err); met || !told {
		return d, err
	}
	if err := s.waiters.Wait(ctx, name, p.atLeast, until); err != nil {
		return feed.Delta{}, err
	}
	d, err = s.sharedDelta(ctx, name, q, p.atLeast)
	if met, told := meets(p.atLeast, d, err); !met && told {
		return feed.Delta{}, atleast.ErrBehind
	}
	return d, err
}

// meets tells whether the database snapshot that the answer came from covers the floor, if the store has told.
func meets(floor atleast.Floor, d feed.Delta, err error) (met, told bool) {
	var reset *feed.ResetError
	switch {
	case err == nil:
		return floor.Met(d.Head), true
	case errors.As(err, &reset):
		return floor.Met(reset.Head), true
	case errors.Is(err, feed.ErrNoFeed):
		return floor.Met(feed.Cursor{}), true
	}
	return false, false
}

// sharedDelta lets equal reads that come together ask the store once. Those that know the store to have come up to a floor
// share with such as know it too, so that no answer is shared that was asked for before.
func (s *Server) sharedDelta(ctx context.Context, name feed.Name, q store.Query, floor atleast.Floor) (feed.Delta, error) {
	since := q.Since.String()
	if q.BareSeq {
		since = strconv.FormatInt(q.Since.Seq, 10)
	}
	key := fmt.Sprintf("%s %s %d %s", name, since, q.Limit, floor)
	answer := s.shared.DoChan(key, func() (d any, err error) {
		defer func() {
			if p := recover(); p != nil { // here it would take the process down
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		ctx, cancel := context.WithTimeout(s.ctx, s.ReadTimeout) // whoever came first may leave
		defer cancel()
		return s.Store.Delta(ctx, name, q)
	})
	select {
	case <-ctx.Done():
		return feed.Delta{}, ctx.Err()
	case r := <-answer:
		d, _ := r.Val.(feed.Delta)
		return d, r.Err
	}
}
