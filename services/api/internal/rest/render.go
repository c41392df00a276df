package rest

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Bodies are appended by hand, so that values leave byte for byte as they came.

// appendDelta appends a delta, or a snapshot: items in the place of changes, and no since.
func appendDelta(b []byte, d feed.Delta, snapshot bool) []byte {
	b = append(b, `{"feed":`...)
	b = appendString(b, string(d.Feed))
	if !snapshot {
		b = append(b, `,"since":`...)
		b = appendCursor(b, d.Since)
	}
	b = append(b, `,"cursor":`...)
	b = appendCursor(b, d.Cursor)
	b = append(b, `,"more":`...)
	b = strconv.AppendBool(b, d.More)
	if d.Trimmed > 0 {
		b = append(b, `,"trimmed":`...)
		b = strconv.AppendInt(b, d.Trimmed, 10)
	}
	if snapshot {
		b = append(b, `,"items":[`...)
	} else {
		b = append(b, `,"changes":[`...)
	}
	for i, c := range d.Changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"key":`...)
		b = appendString(b, c.Key)
		b = append(b, `,"seq":`...)
		b = strconv.AppendInt(b, c.Seq, 10)
		if c.Deleted {
			b = append(b, `,"deleted":true}`...)
			continue
		}
		b = append(b, `,"value":`...)
		b = append(b, c.Value...)
		b = append(b, '}')
	}
	return append(b, ']', '}')
}

// deltaSize is about how many bytes appendDelta will append.
func deltaSize(d feed.Delta) int {
	const envelope, perChange = 256, 56
	size := envelope + len(d.Changes)*perChange
	for _, c := range d.Changes {
		size += len(c.Key) + len(c.Value)
	}
	return size
}

func appendItem(b []byte, item feed.Item) []byte {
	b = append(b, `{"feed":`...)
	b = appendString(b, string(item.Feed))
	b = append(b, `,"key":`...)
	b = appendString(b, item.Key)
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, item.Cursor.Seq, 10)
	b = append(b, `,"cursor":`...)
	b = appendCursor(b, item.Cursor)
	b = append(b, `,"value":`...)
	b = append(b, item.Value...)
	return append(b, '}')
}

// appendHeads appends the heads in the order of names: "" for no such feed, null for what isn't known.
func appendHeads(b []byte, names []feed.Name, heads []bus.Head) []byte {
	b = append(b, `{"heads":{`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, string(name))
		b = append(b, ':')
		if heads[i].Known {
			b = appendCursor(b, heads[i].Cursor)
		} else {
			b = append(b, "null"...)
		}
	}
	return append(b, '}', '}')
}

func appendCursor(b []byte, c feed.Cursor) []byte {
	b = append(b, '"')
	b = c.Append(b)
	return append(b, '"')
}

func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // names and keys are valid UTF-8
	return b
}
