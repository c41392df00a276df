package auth

import (
	"context"

	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Verdict is whether a subject may do something with a feed.
type Verdict uint8

// The verdicts. The zero one forbids.
const (
	Forbidden Verdict = iota
	Allowed
	// Unknown: whoever knows doesn't answer. It allows nothing, but isn't a no.
	Unknown
)

// Authorizer knows more than the patterns of tokens say. Implementations are safe for concurrent use.
type Authorizer interface {
	// Authorize gives a verdict for each of the feeds, in their order. It waits for a bounded time.
	Authorize(ctx context.Context, p *Principal, a Action, feeds []feed.Name) []Verdict
}

// Weigh tells what p may do with each of the feeds: what its patterns allow, and, where asks says so, what more allows. Nobody (nil)
// may do nothing, and nobody is asked. more may be nil.
func Weigh(ctx context.Context, more Authorizer, p *Principal, a Action, feeds []feed.Name, asks func(feed.Name) bool) []Verdict {
	verdicts := make([]Verdict, len(feeds))
	var open []int // indexes of feeds
	for i, name := range feeds {
		switch {
		case p.May(a, name):
			verdicts[i] = Allowed
		case p != nil && more != nil && asks(name):
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return verdicts
	}
	names := make([]feed.Name, len(open))
	for i, at := range open {
		names[i] = feeds[at]
	}
	for i, v := range more.Authorize(ctx, p, a, names) {
		verdicts[open[i]] = v
	}
	return verdicts
}
