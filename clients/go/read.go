package doorbell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// defaultLimit is the server's own page size; spelling it out would only make the URL another one for caches.
const defaultLimit = 1000

// maxRestarts bounds how often Load begins again because the feed was reset under it.
const maxRestarts = 3

// ReadOptions narrow one read. The zero value is the server's default.
type ReadOptions struct {
	AtLeast string // the answer must cover this cursor, or the read fails with 503 "behind"; "" for whatever is there
	Limit   int    // items in a page, 1 to 10,000; 0 for 1,000
}

// Page is one answer: a delta, or a (page of a) snapshot.
type Page struct {
	Feed    string
	Since   string // where the delta begins; "" for a snapshot's first page
	Cursor  string // where the reader is after it: the next Since
	More    bool   // more follows at once: call Changes with Cursor
	Trimmed int64  // above 0: items whose seq is this or lower are gone, without tombstones
	Changes []Change

	// PollAfter is how long a reader that polls should wait before the next read; 0 when the server doesn't say.
	PollAfter time.Duration
}

// Snapshot reads the feed's live items, first page. A feed that doesn't exist is a *[Problem] "no_feed".
func (c *Client) Snapshot(ctx context.Context, feed string, o ReadOptions) (*Page, error) {
	p, _, err := c.page(ctx, feed, "", o, "")
	return p, err
}

// Changes reads what changed after since: a cursor, a bare seq (current epoch), or "" for the beginning.
// A *[Problem] "reset" says that there is no way on from since, and that the reader has to start over with Snapshot.
func (c *Client) Changes(ctx context.Context, feed, since string, o ReadOptions) (*Page, error) {
	if since == "" {
		return c.Snapshot(ctx, feed, o)
	}
	p, _, err := c.page(ctx, feed, since, o, "")
	return p, err
}

// Load reads the whole feed, page by page, as it was at one cursor. A feed that doesn't exist is empty, and has no
// cursor. A feed that is reset meanwhile is begun again, three times at most.
func (c *Client) Load(ctx context.Context, feed string) (*State, error) {
	for restarts := 0; ; restarts++ {
		state, err := c.load(ctx, feed)
		switch {
		case IsCode(err, "no_feed"):
			return &State{}, nil
		case IsCode(err, "reset") && restarts < maxRestarts:
			continue
		}
		return state, err
	}
}

func (c *Client) load(ctx context.Context, feed string) (*State, error) {
	state := &State{}
	for more := true; more; {
		p, err := c.Changes(ctx, feed, state.Cursor, ReadOptions{})
		if err != nil {
			return nil, err
		}
		if p.More && p.Cursor == state.Cursor {
			return nil, fmt.Errorf("doorbell: reading %s: a page at %s leads nowhere", feed, p.Cursor)
		}
		state.applyPage(p)
		more = p.More
	}
	return state, nil
}

// Item is one item as [Client.Item] reads it.
type Item struct {
	Key    string          `json:"key"`
	Seq    int64           `json:"seq"`    // of its latest change
	Cursor string          `json:"cursor"` // of its latest change: for Change.If, and IfMatch of Put and Delete
	Value  json.RawMessage `json:"value"`
}

// Item reads one item. One that isn't there is a *[Problem] with status 404.
func (c *Client) Item(ctx context.Context, feed, key string) (Item, error) {
	path, err := feedPath(feed)
	if err != nil {
		return Item{}, err
	}
	rest, err := itemPath(key)
	if err != nil {
		return Item{}, fmt.Errorf("doorbell: %w", err)
	}
	a, err := c.do(ctx, http.MethodGet, path+rest, nil, nil)
	if err != nil {
		return Item{}, err
	}
	item := Item{Key: key}
	if err := json.Unmarshal(a.body, &item); err != nil {
		return Item{}, fmt.Errorf("doorbell: the answer is not an item: %w", err)
	}
	return item, nil
}

// Head is where a feed is.
type Head struct {
	Cursor string // "": there is no such feed
	Known  bool   // false: the server can't say right now
}

// Heads asks where feeds are, 1,000 at most, without reading them.
func (c *Client) Heads(ctx context.Context, feeds ...string) (map[string]Head, error) {
	body, err := json.Marshal(map[string][]string{"feeds": feeds})
	if err != nil {
		return nil, fmt.Errorf("doorbell: %w", err)
	}
	a, err := c.do(ctx, http.MethodPost, "/v1/heads", nil, body)
	if err != nil {
		return nil, err
	}
	var wire struct {
		Heads map[string]*string `json:"heads"`
	}
	if err := json.Unmarshal(a.body, &wire); err != nil {
		return nil, fmt.Errorf("doorbell: the answer is not heads: %w", err)
	}
	heads := make(map[string]Head, len(wire.Heads))
	for feed, at := range wire.Heads {
		if at == nil {
			heads[feed] = Head{}
		} else {
			heads[feed] = Head{Cursor: *at, Known: true}
		}
	}
	return heads, nil
}

// pageURL is the path and query of a read in its canonical form, which is what caches and ETags go by: since, at_least,
// limit, and no defaults. since "" is the snapshot.
func pageURL(feed, since string, o ReadOptions) (string, error) {
	path, err := feedPath(feed)
	if err != nil {
		return "", err
	}
	query := ""
	add := func(name, value string) {
		if query == "" {
			query = "?"
		} else {
			query += "&"
		}
		query += name + "=" + url.QueryEscape(value) // leaves every cursor as it is
	}
	if since != "" {
		path += "/changes"
		add("since", since)
	}
	if o.AtLeast != "" {
		add("at_least", o.AtLeast)
	}
	if o.Limit != 0 && o.Limit != defaultLimit {
		add("limit", strconv.Itoa(o.Limit))
	}
	return path + query, nil
}

// page reads one page. With an etag, the page is nil when nothing has changed.
func (c *Client) page(ctx context.Context, feed, since string, o ReadOptions, etag string) (*Page, http.Header, error) {
	path, err := pageURL(feed, since, o)
	if err != nil {
		return nil, nil, err
	}
	var header http.Header
	if etag != "" {
		header = http.Header{"If-None-Match": {etag}}
	}
	a, err := c.do(ctx, http.MethodGet, path, header, nil)
	if err != nil {
		return nil, nil, err
	}
	if a.status == http.StatusNotModified {
		if etag == "" {
			return nil, nil, fmt.Errorf("doorbell: GET %s: 304 to a question that wasn't conditional", path)
		}
		return nil, a.header, nil
	}
	p, err := parsePage(a.body)
	if err != nil {
		return nil, nil, fmt.Errorf("doorbell: GET %s: %w", path, err)
	}
	if err := misfit(path, feed, since, o, p); err != nil {
		return nil, nil, err
	}
	p.PollAfter = pollAfter(a.header)
	return p, a.header, nil
}

func parsePage(body []byte) (*Page, error) {
	var wire struct {
		Feed    string   `json:"feed"`
		Since   string   `json:"since"`
		Cursor  string   `json:"cursor"`
		More    bool     `json:"more"`
		Trimmed int64    `json:"trimmed"`
		Items   []Change `json:"items"`
		Changes []Change `json:"changes"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, fmt.Errorf("the answer is not a page: %w", err)
	}
	at, err := parseCursor(wire.Cursor)
	if err == nil && at.isZero() {
		err = errors.New("it has no cursor")
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is not a page: %w", err)
	}
	return &Page{
		Feed: wire.Feed, Since: wire.Since, Cursor: wire.Cursor, More: wire.More, Trimmed: wire.Trimmed,
		Changes: append(wire.Items, wire.Changes...),
	}, nil
}

// pollAfter reads Doorbell-Poll-After, in seconds. 0: not given, or nonsense.
func pollAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(h.Get("Doorbell-Poll-After"), 64)
	if err != nil || !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, maxPollAfter.Seconds()) * float64(time.Second))
}
