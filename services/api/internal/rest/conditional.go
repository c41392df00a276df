package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// snapshotTag names a snapshot or an item: W/"0k3f9xa-1043". Tags are weak since caches compress.
func snapshotTag(c feed.Cursor) string {
	return string(append(c.Append([]byte(`W/"`)), '"'))
}

// deltaTag names a delta: W/"0k3f9xa-1040..1043". The beginning is seq 0.
func deltaTag(since, cursor feed.Cursor) string {
	since.Epoch = cursor.Epoch
	b := since.Append([]byte(`W/"`))
	b = append(b, ".."...)
	text := cursor.String()
	b = append(b, text[strings.IndexByte(text, '-')+1:]...)
	return string(append(b, '"'))
}

// tagFor is the tag of the complete answer to p when the feed is at head, if it has one.
func tagFor(p params, delta bool, head feed.Cursor) (tag string, ok bool) {
	if !delta {
		return snapshotTag(head), true
	}
	since := p.since
	if p.sinceBare || since.IsZero() {
		since.Epoch = head.Epoch
	}
	if since.Epoch != head.Epoch || since.Seq > head.Seq || since.Base > head.Seq {
		return "", false // a reset
	}
	return deltaTag(since, head), true
}

// matches tells whether one of the If-None-Match lists names the tag. "*" never does: a client that has the
// answer knows its tag.
func matches(lists []string, tag string) bool {
	opaque := strings.TrimPrefix(tag, "W/")
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") { // no tag of ours has a comma in it
			if strings.TrimPrefix(strings.TrimSpace(one), "W/") == opaque {
				return true
			}
		}
	}
	return false
}

// busHead is the feed's head as the bus knows it, when that can be believed without asking the store.
func (s *Server) busHead(ctx context.Context, name feed.Name) (feed.Cursor, bool) {
	if !s.Bus.Alive() {
		return feed.Cursor{}, false
	}
	heads, err := s.Bus.Heads(ctx, []feed.Name{name}, 0)
	if err != nil || heads[0].Cursor.IsZero() {
		return feed.Cursor{}, false
	}
	return heads[0].Cursor, true
}

// writeConditions reads the conditions on a write. ifMatch is nil when there is none; mustBeAbsent is If-None-Match: *,
// which only a PUT may carry. Conditions that can't be kept are refused, never ignored.
func writeConditions(h http.Header, put bool) (ifMatch *feed.Cursor, err error) {
	match, noneMatch := h.Values("If-Match"), h.Values("If-None-Match")
	if len(match) > 0 {
		cursor, err := parseIfMatch(match)
		if err != nil {
			return nil, err
		}
		ifMatch = &cursor
	}
	if len(noneMatch) > 0 {
		switch {
		case !put:
			return nil, badPrecondition("If-None-Match is for PUT alone")
		case ifMatch != nil:
			return nil, badPrecondition("allowed: one of If-Match and If-None-Match")
		case len(noneMatch) != 1 || strings.TrimSpace(noneMatch[0]) != "*":
			return nil, badPrecondition(`If-None-Match is not "*"; allowed: If-None-Match: *, the item must not exist`)
		}
		ifMatch = &feed.Cursor{}
	}
	return ifMatch, nil
}

func parseIfMatch(values []string) (feed.Cursor, error) {
	const allowed = `; allowed: If-Match: "<cursor>", one cursor in quotes, "" for what must not exist`
	text := strings.TrimSpace(values[0])
	if len(values) > 1 || len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return feed.Cursor{}, badPrecondition("If-Match is " + quoted(strings.Join(values, ", ")) + allowed)
	}
	cursor, err := feed.ParseOptionalCursor(text[1 : len(text)-1])
	if err != nil || cursor.Walk() {
		return feed.Cursor{}, badPrecondition("If-Match is " + quoted(text) + allowed)
	}
	return cursor, nil
}

func badPrecondition(detail string) error {
	return problem.New(http.StatusBadRequest, "bad_precondition", detail)
}
