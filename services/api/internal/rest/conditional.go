package rest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// itemTag names an item: W/"0k3f9xa-1043;item". Tags are weak since caches compress.
func itemTag(c feed.Cursor) string {
	return string(append(c.Append([]byte(`W/"`)), `;item"`...))
}

// tagFor is the tag of the complete answer to p when the feed is at head, if it has one: W/"0k3f9xa-1043" for a snapshot,
// W/"0k3f9xa-1040..1043" for a delta, W/"0k3f9xa-..1043" for one from the beginning, and a limit that isn't the default
// behind: W/"0k3f9xa-1043;limit=20". So no answer's tag is that of another, which it would match at another URL.
func tagFor(p params, k kind, head feed.Cursor) (tag string, ok bool) {
	b := make([]byte, 0, 64)
	b = append(b, `W/"`...)
	if k == snapshotRead {
		b = head.Append(b)
	} else {
		since := p.since
		if p.sinceBare {
			since.Epoch = head.Epoch
		}
		switch {
		case since.IsZero():
			b = append(append(b, head.Epoch.String()...), '-')
		case since.Epoch != head.Epoch || since.Seq > head.Seq || since.Base > head.Seq:
			return "", false // a reset
		default:
			b = since.Append(b)
		}
		b = strconv.AppendInt(append(b, ".."...), head.Seq, 10)
	}
	if p.limit != defaultLimit {
		b = strconv.AppendInt(append(b, ";limit="...), int64(p.limit), 10)
	}
	return string(append(b, '"')), true
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
