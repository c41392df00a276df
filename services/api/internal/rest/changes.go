package rest

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/pkg/problem"
)

// maxHeads is how many feeds one request may ask the heads of.
const maxHeads = 1000

// parseChanges reads {"changes":[{"key":…,"value":…,"if":…},{"key":…,"deleted":true}]}. The values are parts of body.
func parseChanges(body []byte, limits policy.Namespace) ([]feed.Edit, error) {
	p, err := newParser(body)
	if err != nil {
		return nil, err
	}
	var edits []feed.Edit
	err = p.object("", func(name string) error {
		if name != "changes" {
			return unknownField("", name, "changes")
		}
		return p.array("changes", func(i int) error {
			if i >= limits.MaxBatch {
				return problem.New(http.StatusRequestEntityTooLarge, "batch_too_large",
					fmt.Sprintf("the batch has too many changes; allowed: %d", limits.MaxBatch)).With("limit", limits.MaxBatch)
			}
			edit, err := p.change(fmt.Sprintf("changes[%d]", i), limits)
			edits = append(edits, edit)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	if len(edits) == 0 {
		return nil, badBody("changes", fmt.Sprintf("is empty; allowed: 1 to %d changes", limits.MaxBatch))
	}
	return edits, nil
}

func (p *parser) change(where string, limits policy.Namespace) (feed.Edit, error) {
	var e feed.Edit
	hasKey := false
	err := p.object(where, func(name string) error {
		at := where + "." + name
		switch name {
		case "key":
			text, err := p.string(at)
			if err != nil {
				return err
			}
			e.Key, hasKey = text, true
			return located(at, feed.CheckKey(text))
		case "value":
			raw, err := p.value(at, limits.MaxValueBytes)
			e.Value = raw
			return err
		case "deleted":
			deleted, err := p.bool(at)
			e.Deleted = deleted
			return err
		case "if":
			text, err := p.string(at)
			if err != nil {
				return err
			}
			cursor, err := feed.ParseOptionalCursor(text)
			if err != nil {
				return located(at, err)
			}
			if cursor.Walk() {
				return problem.New(http.StatusBadRequest, "bad_cursor", at+` is a walk cursor; allowed: an item's cursor, or ""`).
					With("where", at)
			}
			e.If = &cursor
			return nil
		}
		return unknownField(where, name, "key", "value", "deleted", "if")
	})
	switch {
	case err != nil:
		return e, err
	case !hasKey:
		return e, badBody(where, "has no key")
	case e.Deleted == (e.Value != nil):
		return e, badBody(where, `has to have one of "value" and "deleted":true`)
	}
	return e, nil
}

// parseValue reads one value of at most `most` bytes, which is a part of body.
func parseValue(body []byte, most int) ([]byte, error) {
	p, err := newParser(body)
	if err != nil {
		return nil, err
	}
	raw, err := p.value("", most)
	if err != nil {
		return nil, err
	}
	return raw, p.end()
}

// parseNothing reads an object without members.
func parseNothing(body []byte) error {
	p, err := newParser(body)
	if err != nil {
		return err
	}
	if err := p.object("", func(name string) error { return unknownField("", name) }); err != nil {
		return err
	}
	return p.end()
}

// parseFeeds reads {"feeds":["a","b"]}: 1 to 1,000 names, each of which comes once in the result.
func parseFeeds(body []byte) ([]feed.Name, error) {
	p, err := newParser(body)
	if err != nil {
		return nil, err
	}
	var names nameList
	err = p.object("", func(name string) error {
		if name != "feeds" {
			return unknownField("", name, "feeds")
		}
		return p.array("feeds", func(i int) error {
			at := fmt.Sprintf("feeds[%d]", i)
			text, err := p.string(at)
			if err != nil {
				return err
			}
			return located(at, names.add(text))
		})
	})
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return names.list()
}

// parseFeedQuery reads feed=a&feed=b likewise.
func parseFeedQuery(raw string) ([]feed.Name, error) {
	var names nameList
	for name, value := range queryPairs(raw) {
		if name != "feed" {
			continue
		}
		if err := names.add(value); err != nil {
			return nil, err
		}
	}
	return names.list()
}

// nameList is feeds' names, each once, in order.
type nameList struct {
	names []feed.Name
	seen  map[feed.Name]bool
}

func (l *nameList) add(text string) error {
	name, err := feed.ParseName(text)
	if err != nil {
		return err
	}
	if l.seen[name] {
		return nil
	}
	if len(l.names) == maxHeads {
		return problem.New(http.StatusBadRequest, "too_many_feeds", fmt.Sprintf("too many feeds; allowed: 1 to %d", maxHeads)).
			With("limit", maxHeads)
	}
	if l.seen == nil {
		l.seen = make(map[feed.Name]bool)
	}
	l.seen[name] = true
	l.names = append(l.names, name)
	return nil
}

func (l *nameList) list() ([]feed.Name, error) {
	if len(l.names) == 0 {
		return nil, problem.New(http.StatusBadRequest, "no_feeds", fmt.Sprintf("no feed is named; allowed: 1 to %d", maxHeads))
	}
	return l.names, nil
}

// located says where in the body a name, key or cursor is that can't be one.
func located(where string, err error) error {
	var syntax *feed.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	return problem.New(http.StatusBadRequest, syntaxCode(syntax), where+": "+syntax.Error()).With("where", where)
}
