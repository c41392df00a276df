package store

import (
	"context"
	"fmt"
)

// ErrRewound says that the database may lack commits that clients have seen: it was restored, or a replica was promoted. Nothing
// is written, nor decided about readers who are ahead of it, until [Rewindable.Resume]. It is an ErrUnavailable.
var ErrRewound = fmt.Errorf("%w: it has been rewound, and feeds have to get new epochs first", ErrUnavailable)

// Renewer gives feeds new epochs, so that what clients have of the old ones counts no more. It is for feeds whose history may
// have gone back.
type Renewer interface {
	// Renew moves each of those feeds (up to 1,000 a call) that is still in the epoch of the cursor it was seen at, or in an
	// earlier one, to a later epoch than both. Its items, seqs and head stay. A feed that doesn't exist is born, empty.
	// The result are the heads that the feeds have now, by name. It works while writes end with ErrRewound, too.
	//
	// Errors: ErrUnavailable.
	Renew(ctx context.Context, seen []Listed) ([]Listed, error)
}

// Rewindable is a store whose database may be rewound behind our back. Where it writes another history after that, every write
// of a feed, by whomever, ends with ErrRewound from that very moment; where it can't tell, from Suspend on. Who mends it does, in
// this order, and any number may at the same time:
//
//	Suspend(since)     // only if Changed since then said ErrRewound
//	r := Rewound()     // r.ID is "": it has not been
//	Renew(…)           // every feed of which clients may have seen more than there is now; all of them, if r.Late
//	Resume(r.ID)
type Rewindable interface {
	Renewer
	// Rewound tells whether writes are refused.
	//
	// Errors: ErrUnavailable.
	Rewound(ctx context.Context) (Rewind, error)
	// Suspend has writes refused if the database has gone back from the horizon. Once Resume has been called, that horizon is one
	// of another history.
	//
	// Errors: ErrUnavailable.
	Suspend(ctx context.Context, since Horizon) error
	// Resume has writes accepted in that history. The error is ErrRewound when it is over already.
	//
	// Errors: ErrUnavailable, ErrRewound.
	Resume(ctx context.Context, id string) error
}

// Rewind is what there is to know of a database that has been rewound.
type Rewind struct {
	// ID names the history that it writes now, which isn't the one that feeds are known to be of; "": it has not been rewound.
	ID string
	// Late: writes were taken in that history before anybody noticed, so that no head tells which feeds it concerns.
	Late bool
}
