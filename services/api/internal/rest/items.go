package rest

import (
	"context"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// getItem answers with one item; its tag and Doorbell-Cursor are the item's, not the feed's.
func (s *Server) getItem(x *exchange) error {
	x.setReadHeaders()
	x.canonical = x.c.Request.URL.RawQuery == ""
	key, err := itemKey(x)
	if err != nil {
		return err
	}
	if lists := x.c.Request.Header.Values("If-None-Match"); len(lists) > 0 {
		// The item can't have changed when nothing has since.
		if head, ok := s.busHead(x.ctx(), x.name); ok && matches(lists, snapshotTag(head)) {
			x.sendRead(snapshotTag(head), head, nil)
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(x.ctx(), s.ReadTimeout)
	defer cancel()
	item, err := s.Store.Item(ctx, x.name, key)
	if err != nil {
		return err
	}
	x.sendRead(snapshotTag(item.Cursor), item.Cursor, func() []byte {
		const envelope = 160
		return appendItem(make([]byte, 0, envelope+len(x.name)+len(key)+len(item.Value)), item)
	})
	return nil
}

// putItem is a batch of one put.
func (s *Server) putItem(x *exchange) error {
	key, err := itemKey(x)
	if err != nil {
		return err
	}
	condition, err := writeConditions(x.c.Request.Header, true)
	if err != nil {
		return err
	}
	const slack = 1 << 10 // white space around the value doesn't count
	most := x.policy.MaxValueBytes
	body, err := s.jsonBody(x, most+slack, tooLarge("value_too_large", "value", most))
	if err != nil {
		return err
	}
	value, err := parseValue(body, most)
	if err != nil {
		return err
	}
	return s.append(x, store.Write{Edits: []feed.Edit{{Key: key, Value: value, If: condition}}})
}

// deleteItem is a batch of one deletion.
func (s *Server) deleteItem(x *exchange) error {
	key, err := itemKey(x)
	if err != nil {
		return err
	}
	condition, err := writeConditions(x.c.Request.Header, false)
	if err != nil {
		return err
	}
	if err := s.noBody(x); err != nil {
		return err
	}
	return s.append(x, store.Write{Edits: []feed.Edit{{Key: key, Deleted: true, If: condition}}})
}
