package store

import (
	"context"
	"errors"
)

// ErrHorizon says that a [Horizon] is of another database, or of a history that this one has left.
var ErrHorizon = errors.New("the horizon is not of this database's history")

// Horizon says which transactions had been committed at some moment: a text that only the store can read, of 80 bytes and
// 20 more for each transaction that was open. It stays valid for as long as the database's history does, so that one may
// go back to an earlier horizon and hear of everything since then again. "" is none.
type Horizon string

// Sweepable is what a store can do whose writers are several processes: tell what was committed, so that a signal that a
// process didn't live to give can be given by another.
type Sweepable interface {
	// Changed lists, by name, the feeds that were written (born, changed, purged, dropped) by transactions committed
	// after since, with their heads, and the horizon to ask from next time. A transaction that was open at since is listed
	// once it is committed, however long that takes, and holds up no other's; none is ever skipped, and with each
	// horizon asked from once, each is listed once. It costs what has changed, not what there is.
	//
	// From "" it lists nothing and gives the present horizon. Who then wants all feeds walks them (Feeds): what is
	// committed during the walk is in the next answer.
	//
	// Errors: ErrHorizon (begin again from ""); ErrRewound (the database has not come up to the horizon any more, as after a
	// copy of its files was put back: see [Rewindable.Suspend]); ErrUnavailable.
	Changed(ctx context.Context, since Horizon) ([]Listed, Horizon, error)
}
