package redisbus

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

// A life is a run of the server and what it holds: "<run id>-<random>". A restarted server, and a replica that was promoted,
// have another run id, and may lack the last heads even where they have kept the key; a flushed one has lost the key.

// lifeScript gives the present life, beginning one where that of the key is over.
const lifeScript = `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local life = redis.call('HGET', KEYS[1], 'life')
if not life or string.sub(life, 1, #run + 1) ~= run .. '-' then
  life = run .. '-' .. ARGV[1]
  redis.call('HSET', KEYS[1], 'life', life)
end
`

// KEYS: mark. ARGV: something random → {life, the text or "", the life that it was left in or ""}.
var markScript = redis.NewScript(lifeScript + `
return {life, redis.call('HGET', KEYS[1], 'text') or '', redis.call('HGET', KEYS[1], 'left') or ''}
`)

// KEYS: mark. ARGV: something random, the life meant, the text → 1, or 0 when that life is over.
var setMarkScript = redis.NewScript(lifeScript + `
if life ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'text', ARGV[3], 'left', life)
return 1
`)

// Mark implements bus.Memory.
func (b *Bus) Mark(ctx context.Context) (bus.Mark, error) {
	if err := b.err(); err != nil {
		return bus.Mark{}, err
	}
	said, err := markScript.Run(ctx, b.client, []string{b.keys.mark}, rand.Text()).StringSlice()
	switch {
	case err != nil:
		return bus.Mark{}, b.unavailable("read the mark", err)
	case len(said) != 3:
		return bus.Mark{}, b.unavailable("read the mark", fmt.Errorf("%d answers", len(said)))
	}
	return bus.Mark{Life: said[0], Text: said[1], Whole: said[2] == said[0]}, nil
}

// SetMark implements bus.Memory.
func (b *Bus) SetMark(ctx context.Context, life, text string) error {
	if err := b.err(); err != nil {
		return err
	}
	set, err := setMarkScript.Run(ctx, b.client, []string{b.keys.mark}, rand.Text(), life, text).Bool()
	switch {
	case err != nil:
		return b.unavailable("set the mark", err)
	case !set:
		return bus.ErrForgotten
	}
	return nil
}
