package doorbell

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// Change is an item put or deleted.
type Change struct {
	Key     string          `json:"key"`             // 1 to 256 bytes of printable UTF-8, not "." or ".."
	Seq     int64           `json:"seq,omitempty"`   // its number in the feed, from 1; not sent in writes
	Value   json.RawMessage `json:"value,omitempty"` // any JSON, byte for byte as it was put; nil when Deleted
	Deleted bool            `json:"deleted,omitempty"`

	// If makes one change of a [Client.Write] conditional: the item's cursor must be this one, or with new("")
	// the item must not exist; otherwise nothing of the write happens (412). Never set in what is read.
	If *string `json:"-"`
}

// Written says where a write left its feed.
type Written struct {
	Cursor string `json:"cursor"` // the feed's head after the write
	First  int64  `json:"first"`  // the seq of the first change; 0 when the server named none
}

// WriteOption is a choice for one write.
type WriteOption func(http.Header)

// IfMatch lets a write happen only while cursor is current; otherwise it fails with status 412. It is the feed's head for
// Write and Touch, and the item's own cursor ([Item]) for Put and Delete.
func IfMatch(cursor string) WriteOption {
	return func(h http.Header) { h.Set("If-Match", `"`+cursor+`"`) }
}

// Once names a write by a key of the caller's own (1 to 255 characters of ASCII, such as crypto/rand.Text()), so that it happens
// once however often it is sent. Within 24 hours the same call with the same key gets the first one's answer, a 412
// included; another write with that key is a *[Problem] "idempotency_key_reused". With Once a write whose outcome isn't
// known, or that the server can't take right now, is sent again: four times in all, for some seconds.
func Once(key string) WriteOption {
	return func(h http.Header) { h.Set(onceHeader, key) }
}

// Write commits changes, 1,000 at most, in one transaction, in order, all or none. When it fails with anything but
// a *[Problem], whether it happened is unknown; it is not tried again, unless it has a name ([Once]).
func (c *Client) Write(ctx context.Context, feed string, changes []Change, opts ...WriteOption) (Written, error) {
	body := []byte(`{"changes":[`)
	for i, ch := range changes {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = appendChange(body, ch); err != nil {
			return Written{}, fmt.Errorf("doorbell: change %d: %w", i, err)
		}
	}
	return c.write(ctx, http.MethodPost, feed, "/changes", append(body, "]}"...), opts)
}

// Put sets one item. The value is any JSON.
func (c *Client) Put(ctx context.Context, feed, key string, value json.RawMessage, opts ...WriteOption) (Written, error) {
	path, err := itemPath(key)
	if err == nil {
		err = checkValue(value)
	}
	if err != nil {
		return Written{}, fmt.Errorf("doorbell: %w", err)
	}
	return c.write(ctx, http.MethodPut, feed, path, value, opts)
}

// Delete removes one item. Removing what isn't there is no error and no change.
func (c *Client) Delete(ctx context.Context, feed, key string, opts ...WriteOption) (Written, error) {
	path, err := itemPath(key)
	if err != nil {
		return Written{}, fmt.Errorf("doorbell: %w", err)
	}
	return c.write(ctx, http.MethodDelete, feed, path, nil, opts)
}

// Touch moves the feed's head without any item, so that followers are signalled.
func (c *Client) Touch(ctx context.Context, feed string, opts ...WriteOption) (Written, error) {
	return c.write(ctx, http.MethodPost, feed, "/touch", nil, opts)
}

// Drop removes the feed with all its items, if its head is still ifMatch. The key needs the drop scope. What is
// written to the feed later begins a new epoch.
func (c *Client) Drop(ctx context.Context, feed, ifMatch string) (Written, error) {
	return c.write(ctx, http.MethodDelete, feed, "", nil, []WriteOption{IfMatch(ifMatch)})
}

func (c *Client) write(ctx context.Context, method, feed, rest string, body []byte, opts []WriteOption) (Written, error) {
	path, err := feedPath(feed)
	if err != nil {
		return Written{}, err
	}
	header := make(http.Header)
	for _, o := range opts {
		o(header)
	}
	a, err := c.sendWrite(ctx, method, path+rest, header, body)
	if err != nil {
		return Written{}, err
	}
	var w struct {
		Cursor *string `json:"cursor"`
		First  int64   `json:"first"`
	}
	if header := a.header.Get("Doorbell-Cursor"); header != "" {
		w.Cursor = &header
	}
	if len(a.body) > 0 {
		err = json.Unmarshal(a.body, &w)
	}
	if err == nil && w.Cursor == nil { // a portal's page, say: nothing was written
		err = errors.New("it has no cursor")
	}
	if err != nil {
		return Written{}, fmt.Errorf("doorbell: %s %s: the answer is not what a write gets: %w", method, path, err)
	}
	return Written{Cursor: *w.Cursor, First: w.First}, nil
}

// appendChange writes a change as JSON by hand, because encoding/json would rewrite the value (white space, "<"), and a
// value has to come back byte for byte.
func appendChange(b []byte, ch Change) ([]byte, error) {
	if err := checkKey(ch.Key); err != nil {
		return nil, err
	}
	b = append(b, `{"key":`...)
	b = appendString(b, ch.Key)
	if ch.Deleted {
		if ch.Value != nil {
			return nil, errors.New("has a value and is deleted")
		}
		b = append(b, `,"deleted":true`...)
	} else {
		if err := checkValue(ch.Value); err != nil {
			return nil, err
		}
		b = append(b, `,"value":`...)
		b = append(b, bytes.TrimSpace(ch.Value)...)
	}
	if ch.If != nil {
		b = append(b, `,"if":`...)
		b = appendString(b, *ch.If)
	}
	return append(b, '}'), nil
}

func appendString(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) //nolint:errchkjson // a string always marshals
	return append(b, quoted...)
}

// checkKey refuses what could not be sent as it is; what else a key may not be, the server says.
func checkKey(key string) error {
	if key == "" || !utf8.ValidString(key) {
		return fmt.Errorf("key %q: want 1 to 256 bytes of printable UTF-8", key)
	}
	return nil
}

func checkValue(value json.RawMessage) error {
	if !json.Valid(value) {
		return errors.New("the value is not JSON")
	}
	return nil
}

func itemPath(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	switch key {
	case ".": // as a step of a path these two would be swallowed on the way; the server shall see and refuse them
		return "/items/%2E", nil
	case "..":
		return "/items/%2E%2E", nil
	}
	return "/items/" + url.PathEscape(key), nil
}
