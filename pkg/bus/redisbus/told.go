package redisbus

import (
	"context"
	"strings"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// literal keeps a prefix from being read as a pattern.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// Told implements bus.Memory. It walks over all keys of the database, which takes Redis about a second for each million of them,
// in steps that hold up nobody.
func (b *Bus) Told(ctx context.Context, each func([]bus.Told) error) error {
	pattern := literal.Replace(b.keys.head) + "*"
	for cursor := uint64(0); ; {
		if err := b.err(); err != nil {
			return err
		}
		found, next, err := b.client.Scan(ctx, cursor, pattern, batch).Result()
		if err != nil {
			return b.unavailable("list heads", err)
		}
		if err := b.toldOf(ctx, found, each); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// toldOf reads the heads in some keys, of which Redis may give a few more than were asked for.
func (b *Bus) toldOf(ctx context.Context, keys []string, each func([]bus.Told) error) error {
	names := make([]feed.Name, 0, len(keys))
	for _, key := range keys {
		text, ok := strings.CutSuffix(strings.TrimPrefix(key, b.keys.head), "}")
		if name, err := feed.ParseName(text); ok && err == nil {
			names = append(names, name)
		}
	}
	for len(names) > 0 {
		some := names[:min(batch, len(names))]
		names = names[len(some):]
		heads, err := b.read(ctx, some)
		if err != nil {
			return err
		}
		told := make([]bus.Told, 0, len(some))
		for i, h := range heads {
			if h.Known { // it hasn't expired since
				told = append(told, bus.Told{Name: some[i], Head: h})
			}
		}
		if len(told) == 0 {
			continue
		}
		if err := each(told); err != nil {
			return err
		}
	}
	return nil
}
