package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// batchAtMost is how many clients' spending goes to Redis in one round trip.
	batchAtMost = 500
	// queueAtMost is how many clients may wait to be reported; further ones come again with their next request.
	queueAtMost = 1 << 16
	// pause lies between two round trips, so that reports gather.
	pause = 5 * time.Millisecond
	// retry is how long Redis is left alone after a failure.
	retry = time.Second
	// roundTrip bounds one.
	roundTrip = time.Second
	// debtAtMost is how many bursts a client can be ahead of what it is allowed, so that a crowd of nodes doesn't shut it
	// out for ever.
	debtAtMost = 10
)

// Redis is where nodes add up. Several limiters may share one.
type Redis struct {
	client *redis.Client
	prefix string
	log    *slog.Logger
}

// OpenRedis takes "redis://host:6379/0" and connects when there is something to report. Keys begin with prefix.
func OpenRedis(url, prefix string, log *slog.Logger) (*Redis, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = roundTrip, roundTrip, roundTrip, roundTrip
	opts.ContextTimeoutEnabled = true
	opts.PoolSize = 1 // one report at a time
	opts.Protocol = 2
	opts.DisableIdentity = true
	return &Redis{client: redis.NewClient(opts), prefix: prefix, log: log}, nil
}

// Close closes the connection.
func (r *Redis) Close() error { return r.client.Close() }

// add pushes a client's TAT ahead by ARGV[1] from no earlier than now, and gives how far ahead it then is, at most ARGV[2]; all in µs of
// Redis's own clock, so that nodes' clocks don't matter.
var add = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ahead = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) - now, 0) + ARGV[1]
ahead = math.min(ahead, tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000) + 1000)
return math.floor(ahead)
`)

// client names a slot.
type client struct {
	id    uint64
	class Class
}

// report is what a client has spent here, in tenths.
type spending struct {
	client
	tenths int32
}

// shared reports what is spent here and learns what was spent everywhere.
type shared struct {
	// static
	l     *Limiter
	redis *Redis
	ctx   context.Context // ends with close
	end   context.CancelFunc
	done  chan struct{}
	wake  chan struct{} // holds a token when the queue isn't empty

	failing atomic.Bool // the last round trip came to nothing; set by run alone

	mu    sync.Mutex
	queue []client // guarded by mu
}

func newShared(l *Limiter, r *Redis) *shared {
	s := &shared{l: l, redis: r, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.ctx, s.end = context.WithCancel(context.Background())
	go s.run()
	return s
}

func (s *shared) close() {
	s.end()
	<-s.done
}

// report has the client's spending reported soon.
func (s *shared) report(id uint64, class Class) {
	s.mu.Lock()
	full := len(s.queue) >= queueAtMost
	if !full {
		s.queue = append(s.queue, client{id, class})
	}
	s.mu.Unlock()
	if full {
		s.l.dequeued(client{id, class}, 0)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shared) run() {
	defer close(s.done)
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		}
		wait := pause
		for batch := s.next(); len(batch) > 0; batch = s.next() {
			err := s.send(batch)
			if err != nil && s.ctx.Err() == nil {
				if wait = retry; !s.failing.Load() {
					s.redis.log.Warn("limits are this node's own until Redis answers", "error", err)
				}
			}
			if s.failing.Store(err != nil); err != nil {
				break
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// next takes what is to be sent in one round trip.
func (s *shared) next() []spending {
	s.mu.Lock()
	n := min(len(s.queue), batchAtMost)
	clients := append([]client(nil), s.queue[:n]...)
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil // with what it grew to
	}
	s.mu.Unlock()
	batch := make([]spending, 0, n)
	for _, c := range clients {
		if tenths := s.l.take(c); tenths > 0 {
			batch = append(batch, spending{c, tenths})
		}
	}
	return batch
}

// send adds the spendings up in Redis, and tells the slots. What could not be sent is sent another time.
func (s *shared) send(batch []spending) error {
	ctx, cancel := context.WithTimeout(s.ctx, roundTrip)
	defer cancel()
	err := s.exec(ctx, batch)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err = add.Load(ctx, s.redis.client).Err(); err == nil {
			err = s.exec(ctx, batch)
		}
	}
	if err != nil {
		for _, b := range batch {
			s.l.dequeued(b.client, b.tenths)
		}
	}
	return err
}

func (s *shared) exec(ctx context.Context, batch []spending) error {
	pipe := s.redis.client.Pipeline()
	answers := make([]*redis.Cmd, len(batch))
	for i, b := range batch {
		limit := s.l.limits[b.class]
		// The class's name is in the key, not its index: nodes of two versions may have other classes.
		key := s.redis.prefix + s.l.Limits[b.class].Name + ":" + strconv.FormatUint(b.id, 36)
		answers[i] = add.EvalSha(ctx, pipe, []string{key}, int64(b.tenths)*limit.cost, debtAtMost*limit.burst)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, b := range batch {
		ahead, err := answers[i].Int64()
		if err != nil {
			return err
		}
		s.l.learn(b.client, ahead)
	}
	return nil
}

// take empties what the client has to report; what it was given back is kept.
func (l *Limiter) take(c client) int32 {
	s, first := l.place(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(first, c.id, c.class)
	one.queued = false
	tenths := max(one.unsent, 0)
	one.unsent -= tenths
	return tenths
}

// dequeued takes back what could not be reported.
func (l *Limiter) dequeued(c client, tenths int32) {
	s, first := l.place(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(first, c.id, c.class)
	one.queued = false
	one.unsent = min(one.unsent+tenths, unsentAtMost)
}

// learn is told how far ahead the client is with what all nodes have reported.
func (l *Limiter) learn(c client, ahead int64) {
	now := l.now()
	s, first := l.place(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.find(first, c.id, c.class)
	one.tat = max(one.tat, now+ahead+int64(one.unsent)*l.limits[c.class].cost)
}
