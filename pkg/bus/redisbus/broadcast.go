package redisbus

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

// Broadcast takes one round trip. Every node hears what is said on any topic, on its first line.
func (b *Bus) Broadcast(ctx context.Context, topic string, message []byte) error {
	if err := bus.CheckBroadcast(topic, message); err != nil {
		return err
	}
	if err := b.err(); err != nil {
		return err
	}
	if err := b.client.Publish(ctx, b.keys.said, topic+" "+string(message)).Err(); err != nil {
		return b.unavailable("broadcast", err)
	}
	return nil
}

// Listen returns at once, also when Redis isn't there.
func (b *Bus) Listen(topic string, l bus.Listener) (stop func()) {
	return b.topics.Listen(topic, l, b.lines[0].synced.Load)
}

// said hears what any node has broadcast.
func (b *Bus) said(payload string) {
	if topic, message, ok := strings.Cut(payload, " "); ok {
		b.topics.Hand(topic, []byte(message))
	}
}

// Keep adds to a sorted set, whose scores are Unix milliseconds. What has ended is removed on the way.
func (b *Bus) Keep(ctx context.Context, set string, entries ...bus.Entry) error {
	if err := bus.CheckEntries(set, entries); err != nil {
		return err
	}
	if err := b.err(); err != nil {
		return err
	}
	p := b.client.Pipeline()
	for some := range slices.Chunk(entries, batch) {
		members := make([]redis.Z, len(some))
		for i, e := range some {
			members[i] = redis.Z{Score: float64(e.Until.UnixMilli()), Member: e.Text}
		}
		p.ZAddArgs(ctx, in(b.keys.kept, set), redis.ZAddArgs{GT: true, Members: members})
	}
	b.removeEnded(ctx, p, set)
	if _, err := p.Exec(ctx); err != nil {
		return b.unavailable("keep entries", err)
	}
	return nil
}

func (b *Bus) removeEnded(ctx context.Context, p redis.Pipeliner, set string) {
	p.ZRemRangeByScore(ctx, in(b.keys.kept, set), "-inf", strconv.FormatInt(time.Now().UnixMilli(), 10))
}

// Kept reads up to 1,000 entries in a round trip.
func (b *Bus) Kept(ctx context.Context, set string, most int) ([]bus.Entry, error) {
	if err := bus.CheckTopic(set); err != nil {
		return nil, err
	}
	if err := b.err(); err != nil {
		return nil, err
	}
	p := b.client.Pipeline()
	b.removeEnded(ctx, p, set)
	page := p.ZScan(ctx, in(b.keys.kept, set), 0, "", batch)
	if _, err := p.Exec(ctx); err != nil {
		return nil, b.unavailable("read entries", err)
	}
	until := make(map[string]time.Time) // a scan may come by an entry twice
	for {
		texts, cursor := page.Val()
		for i := 0; i+1 < len(texts); i += 2 {
			if ms, err := strconv.ParseFloat(texts[i+1], 64); err == nil {
				until[texts[i]] = time.UnixMilli(int64(ms))
			}
		}
		if cursor == 0 || len(until) >= most {
			break
		}
		if page = b.client.ZScan(ctx, in(b.keys.kept, set), cursor, "", batch); page.Err() != nil {
			return nil, b.unavailable("read entries", page.Err())
		}
	}
	entries := make([]bus.Entry, 0, len(until))
	for text, until := range until {
		entries = append(entries, bus.Entry{Text: text, Until: until})
	}
	return entries, nil
}
