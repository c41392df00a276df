package rest

import (
	"context"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	"github.com/doorbell-sync/doorbell/services/api/internal/window"
)

// getItem answers with one item; its tag and Doorbell-Cursor are the item's, not the feed's.
func (s *Server) getItem(x *exchange) error {
	x.canonical = x.c.Request.URL.RawQuery == ""
	key, err := itemKey(x)
	if err != nil {
		return err
	}
	f := s.windows.Feed(x.name)
	if v := f.Current(); v != nil {
		if !v.Exists() {
			return feed.ErrNoFeed
		}
		if c, live, known := v.Item(key); known && !live {
			return feed.ErrNoItem
		} else if known {
			item := feed.Item{Feed: x.name, Key: key, Value: c.Value, Cursor: feed.Cursor{Epoch: v.Head.Epoch, Seq: c.Seq}}
			return s.sendItem(x, f, v, item)
		}
	}
	if lists := x.c.Request.Header["If-None-Match"]; len(lists) > 0 {
		// The item can't have changed when nothing has since.
		if head, ok := s.knownHead(x, f); ok && matches(lists, itemTag(head)) {
			x.newAnswer(itemTag(head), head, nil).send(s, x.c, s.pollAfter(x.policy.PollAfter, f))
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(x.ctx(), s.ReadTimeout)
	defer cancel()
	item, err := s.reads.Item(ctx, x.name, key)
	if err != nil {
		return err
	}
	return s.sendItem(x, f, nil, item)
}

// sendItem answers with the item, rendered once where v has it.
func (s *Server) sendItem(x *exchange, f *window.Feed, v *window.View, item feed.Item) error {
	build := func() *answer {
		const envelope = 160
		text := appendItem(make([]byte, 0, envelope+len(x.name)+len(item.Key)+len(item.Value)), item)
		return x.newAnswer(itemTag(item.Cursor), item.Cursor, text)
	}
	after := s.pollAfter(x.policy.PollAfter, f)
	if v == nil || !x.canonical {
		build().send(s, x.c, after)
		return nil
	}
	a, err := f.Make(v, window.Key{Kind: uint8(itemRead), Query: item.Key},
		func() (window.Answer, error) { return build().share(), nil })
	if err != nil {
		return err
	}
	a.(*answer).send(s, x.c, after) //nolint:forcetypeassert // nothing else is kept
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
