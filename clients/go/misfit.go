package doorbell

import (
	"fmt"
	"strconv"
)

// Misfit says that an answer is not one to the question: something between here and Doorbell answered from another place. A
// proxy or cache that drops the query string, or leaves it out of its key, is the usual reason. Nothing of the answer was used.
//
// A read fails with it. [Client.Follow] reports it by OnStatus and asks again, ever more slowly.
type Misfit struct {
	Asked  string // path and query
	Detail string // what came in the place of what
}

func (m *Misfit) Error() string {
	return fmt.Sprintf("doorbell: GET %s: %s: the answer is to another question. Do all proxies and caches on the way "+
		"pass the query string on, and tell answers apart by it?", m.Asked, m.Detail)
}

// misfit tells why a page is not the answer to what was asked for: the feed from since on ("" for its snapshot, or a bare seq),
// at least at atLeast. nil when it is.
func misfit(path, feed, since string, o ReadOptions, p *Page) error {
	wrong := func(format string, args ...any) error {
		return &Misfit{Asked: path, Detail: fmt.Sprintf(format, args...)}
	}
	to, err := parseCursor(p.Cursor)
	if err != nil {
		return err
	}
	if p.Feed != "" && p.Feed != feed {
		return wrong("asked for %s, got %q", feed, p.Feed)
	}
	if since == "" && p.Since != "" {
		return wrong("asked for a snapshot, got a delta since %s", p.Since)
	}
	if since != "" && p.Since != since && !sameSeq(since, p.Since) {
		return wrong("asked for the delta since %s, got one since %q", since, p.Since)
	}
	// A page in the midst of things may end before atLeast; it says so itself.
	if floor, err := parseCursor(o.AtLeast); err == nil && (since == "" || !p.More) && !to.covers(floor) {
		return wrong("asked for %s at least, got %s", o.AtLeast, p.Cursor)
	}
	return nil
}

// sameSeq tells whether a bare seq is that of a cursor, in whatever epoch. Seq 0 is the beginning, which has no name of its own.
func sameSeq(bare, cursor string) bool {
	seq, ok := parseSeq(bare)
	c, err := parseCursor(cursor)
	return ok && err == nil && c.seq == seq && strconv.FormatInt(seq, 10) == bare
}
