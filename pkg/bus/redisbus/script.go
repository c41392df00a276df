package redisbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

const (
	// headTTL is how long a head is kept after it was last set.
	headTTL = 7 * 24 * time.Hour
	// absentTTL is how long "no such feed" is kept: asking for made-up names must not fill Redis.
	absentTTL = 10 * time.Minute
)

// publishScript moves a head forward and signals it, at once or (with an interval) by owing the signal.
//
// Epochs and seqs are compared as numbers: text is compared by the server's locale, and Lua's numbers are exact up to
// 2^53 only, which an epoch (36^7) fits but a seq doesn't, so that it is compared in two halves. What is no cursor
// counts as nothing.
//
//	KEYS: head, due. ARGV: cursor or "-", channel, seconds that the head is kept, the interval in ms (0: none), its trace or ""
//	→ {0, 0}, or {due, wait}: a signal is owed at due (Unix ms), that is in wait (µs).
//
// A debt of which the time has passed is paid here, before anybody has come to pay it: otherwise a feed that is published
// all the time could put its signal off for ever.
//
// A signal is the cursor, and behind a space its trace. What is owed is the time, and behind spaces the last traced cursor and its
// trace, which count when that is still the head.
var publishScript = redis.NewScript(`
local function split(cursor)
  return string.match(cursor, '^(%w%w%w%w%w%w%w)%-(%d+)$')
end
local function order(a, b)
  if a == b then return 0 end
  return a > b and 1 or -1
end
local function compare(new, old)
  if new == old then return 0 end
  if not old or old == '' then return 1 end
  local oldEpoch, oldSeq = split(old)
  local newEpoch, newSeq = split(new)
  if not oldEpoch then return newEpoch and 1 or (old == '-' and 0 or 1) end
  if not newEpoch then return -1 end
  local by = order(tonumber(newEpoch, 36), tonumber(oldEpoch, 36))
  if by == 0 then by = order(#newSeq, #oldSeq) end
  if by == 0 then by = order(tonumber(string.sub(newSeq, 1, 10)), tonumber(string.sub(oldSeq, 1, 10))) end
  if by == 0 then by = order(tonumber(string.sub(newSeq, 11)) or 0, tonumber(string.sub(oldSeq, 11)) or 0) end
  return by
end
local by = compare(ARGV[1], redis.call('GET', KEYS[1]))
if by < 0 then return {0, 0} end
if by > 0 then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3]) end
local interval = tonumber(ARGV[4])
local signal = ARGV[1]
if ARGV[5] ~= '' then signal = signal .. ' ' .. ARGV[5] end
if interval == 0 then
  redis.call('PUBLISH', ARGV[2], signal)
  return {0, 0}
end
local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ms = math.floor(us / 1000)
local due = tonumber(string.match(redis.call('GET', KEYS[2]) or '', '^%d+'))
if due and due <= ms then
  redis.call('DEL', KEYS[2])
  redis.call('PUBLISH', ARGV[2], signal)
  return {0, 0}
end
local new = not due or due > ms + interval
if new then due = (math.floor(ms / interval) + 1) * interval end
if new or ARGV[5] ~= '' then
  local owed = string.format('%.0f', due)
  if ARGV[5] ~= '' then owed = owed .. ' ' .. signal end
  redis.call('SET', KEYS[2], owed, 'PX', interval + 60000)
end
return {due, due * 1000 - us}
`)

// payScript sends the signal that is owed to a feed's followers, with the head as it is now, if nobody else has.
//
//	KEYS: head, due. ARGV: channel, "1" to pay early
//	→ {0, 0}, or {due, wait} when it isn't time yet, as above.
var payScript = redis.NewScript(`
local owed = redis.call('GET', KEYS[2]) or ''
local due = tonumber(string.match(owed, '^%d+'))
if not due then return {0, 0} end
local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
if due * 1000 > us and ARGV[2] ~= '1' then return {due, due * 1000 - us} end
redis.call('DEL', KEYS[2])
local head = redis.call('GET', KEYS[1])
if head then
  local cursor, trace = string.match(owed, '^%d+ (%S+) (%S+)$')
  if cursor == head then head = head .. ' ' .. trace end
  redis.call('PUBLISH', ARGV[1], head)
end
return {0, 0}
`)

// scripted is one run of a script; err and result are what came of it.
type scripted struct {
	keys   []string
	args   []any
	result []int64
	err    error
}

// runScript runs a script many times in one round trip; in two when the server doesn't have it yet.
func (b *Bus) runScript(ctx context.Context, s *redis.Script, runs []*scripted) {
	again := make([]*scripted, 0)
	b.pipeline(ctx, runs, func(p redis.Pipeliner, r *scripted) *redis.Cmd { return s.EvalSha(ctx, p, r.keys, r.args...) })
	for _, r := range runs {
		if redis.HasErrorPrefix(r.err, "NOSCRIPT") {
			again = append(again, r)
		}
	}
	if len(again) == 0 {
		return
	}
	if err := s.Load(ctx, b.client).Err(); err != nil {
		for _, r := range again {
			r.err = err
		}
		return
	}
	b.pipeline(ctx, again, func(p redis.Pipeliner, r *scripted) *redis.Cmd { return s.EvalSha(ctx, p, r.keys, r.args...) })
}

func (b *Bus) pipeline(ctx context.Context, runs []*scripted, add func(redis.Pipeliner, *scripted) *redis.Cmd) {
	p := b.client.Pipeline()
	cmds := make([]*redis.Cmd, len(runs))
	for i, r := range runs {
		cmds[i] = add(p, r)
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for i, r := range runs {
		r.result, r.err = cmds[i].Int64Slice()
	}
}

// lostIn gives the first error that kept Redis from answering, as opposed to one that Redis has answered.
func lostIn(before, err error) error {
	var reply redis.Error
	if before != nil || errors.As(err, &reply) {
		return before
	}
	return err
}

// unavailable wraps what go-redis says went wrong. Redis refusing a command (no memory, loading, not the master any more) is the
// same to callers as Redis being away.
func (b *Bus) unavailable(what string, err error) error {
	if b.ctx.Err() != nil {
		return bus.ErrClosed
	}
	return fmt.Errorf("%s: %w: %w", what, bus.ErrUnavailable, err)
}
