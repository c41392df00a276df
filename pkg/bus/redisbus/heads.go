package redisbus

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

const (
	// readsAtOnce is the most calls that one round trip reads for, chunksAtOnce the most commands of one.
	readsAtOnce  = 256
	chunksAtOnce = 16
)

// reading is a part of a call that wants heads, at most batch of them.
type reading struct {
	names []feed.Name
	heads []bus.Head // static until done is closed
	err   error
	done  chan struct{}
}

// Heads reads them from Redis, up to 1,000 in a command. It returns ctx's error if it ends before that. Without any Answerer
// it doesn't wait.
func (b *Bus) Heads(ctx context.Context, names []feed.Name, wait time.Duration) ([]bus.Head, error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	heads, err := b.read(ctx, names)
	if err != nil {
		return nil, err
	}
	unknown := unknownOf(heads)
	if len(unknown) == 0 {
		return heads, nil
	}
	w := delivery.NewWaiter()
	b.want(w, names, unknown, wait > 0)
	if wait <= 0 {
		return heads, nil
	}
	if err := b.waiting.Wait(ctx, &b.mu, w, wait, nil, b.ctx.Done()); err != nil {
		return nil, err
	}
	return heads, b.fill(ctx, heads, names, unknown)
}

func unknownOf(heads []bus.Head) (at []int) {
	for i, h := range heads {
		if !h.Known {
			at = append(at, i)
		}
	}
	return at
}

// fill reads the heads of the names at the given indexes.
func (b *Bus) fill(ctx context.Context, heads []bus.Head, names []feed.Name, at []int) error {
	some := make([]feed.Name, len(at))
	for i, j := range at {
		some[i] = names[j]
	}
	read, err := b.read(ctx, some)
	if err != nil {
		return err
	}
	for i, j := range at {
		if read[i].Newer(heads[j]) {
			heads[j] = read[i]
		}
	}
	return nil
}

// read reads heads as they are in Redis, in the order of names.
func (b *Bus) read(ctx context.Context, names []feed.Name) ([]bus.Head, error) {
	if len(names) == 0 {
		return []bus.Head{}, nil
	}
	var all []*reading
	for some := range slices.Chunk(names, batch) {
		all = append(all, &reading{names: some, done: make(chan struct{})})
	}
	b.reads.add(all...)
	heads := make([]bus.Head, 0, len(names))
	for _, r := range all {
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.ctx.Done():
			return nil, bus.ErrClosed
		}
		if r.err != nil {
			return nil, r.err
		}
		heads = append(heads, r.heads...)
	}
	return heads, nil
}

// readAll carries out what has been put into the queue. Several calls share a command. In a Redis Cluster, names would
// be put together by slot here.
func (b *Bus) readAll() {
	b.reads.each(b.ctx, readsAtOnce, func(all []*reading) {
		for len(all) > 0 {
			var groups [][]*reading // each becomes a command
			size := batch
			n := 0
			for ; n < len(all); n++ {
				if size += len(all[n].names); size > batch {
					if len(groups) == chunksAtOnce {
						break
					}
					groups = append(groups, nil)
					size = len(all[n].names)
				}
				last := len(groups) - 1
				groups[last] = append(groups[last], all[n])
			}
			if lost := b.readGroups(groups); lost != nil { // those behind have waited for as long
				for _, r := range slices.Concat(all[n:], b.reads.takeAll()) {
					r.fail(b.unavailable("read heads", lost))
				}
				return
			}
			all = all[n:]
		}
	})
}

func (r *reading) fail(err error) {
	r.err = err
	close(r.done)
}

// readGroups gives the error that means that Redis hasn't answered.
func (b *Bus) readGroups(groups [][]*reading) (lost error) {
	p := b.client.Pipeline()
	cmds := make([]*redis.SliceCmd, len(groups))
	for i, group := range groups {
		var keys []string
		for _, r := range group {
			for _, name := range r.names {
				keys = append(keys, in(b.keys.head, string(name)))
			}
		}
		cmds[i] = p.MGet(b.ctx, keys...)
	}
	_, _ = p.Exec(b.ctx) // each command has its own error
	for i, group := range groups {
		values, err := cmds[i].Result()
		for _, r := range group {
			if err != nil {
				lost = lostIn(lost, err)
				r.fail(b.unavailable("read heads", err))
				continue
			}
			r.heads = make([]bus.Head, len(r.names))
			for j := range r.names {
				if text, ok := values[j].(string); ok {
					r.heads[j] = parseHead(text)
				}
			}
			values = values[len(r.names):]
			close(r.done)
		}
	}
	return lost
}
