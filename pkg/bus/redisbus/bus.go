package redisbus

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/internal/delivery"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Bus is a bus.Bus on Redis, one node of any number.
type Bus struct {
	// static
	opts      Options
	keys      keys
	client    *redis.Client
	ctx       context.Context // ends with the bus
	end       context.CancelFunc
	running   sync.WaitGroup // everything but Boxes
	boxes     sync.WaitGroup
	lines     []*line
	seed      maphash.Seed // of the hash of feeds onto lines
	publishes queue[*publishing]
	reads     queue[*reading]
	toAsk     queue[feed.Name]
	debts     debts
	topics    *delivery.Topics
	started   time.Time

	closing   atomic.Bool
	alive     atomic.Bool  // what judge has found
	reached   atomic.Int64 // when a probe last came through, as Bus.now tells it
	reachable atomic.Bool  // false: it's known that commands fail, so that callers needn't wait to find out

	mu        sync.Mutex
	closed    bool
	begun     chan struct{} // closed when it's alive for the first time, and nil from then on
	subs      map[*subscription]struct{}
	waiting   delivery.Waiting
	asked     map[feed.Name]struct{} // heads that somebody has been asked for, or is about to be
	questions map[string]asking      // by id
	later     map[feed.Name]struct{} // followed feeds of unknown heads, to be asked for again
	answerers int
	toAnswer  []question
	answering sync.Cond // toAnswer has grown, or an Answerer ends
}

var (
	_ bus.Bus         = (*Bus)(nil)
	_ bus.Memory      = (*Bus)(nil)
	_ bus.Broadcaster = (*Bus)(nil)
	_ bus.Keeper      = (*Bus)(nil)
)

// New makes a node. It waits for Redis until ctx ends, at most for Options.Timeout, and makes the node all the same when
// Redis isn't there: that isn't alive until Redis is. The error is one in opts.
func New(ctx context.Context, opts Options) (*Bus, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	silence()
	client, err := opts.client()
	if err != nil {
		return nil, err
	}
	b := &Bus{
		opts: opts, keys: newKeys(opts.Prefix), client: client, seed: maphash.MakeSeed(),
		publishes: newQueue[*publishing](), reads: newQueue[*reading](), toAsk: newQueue[feed.Name](),
		subs: make(map[*subscription]struct{}), waiting: make(delivery.Waiting), asked: make(map[feed.Name]struct{}),
		questions: make(map[string]asking), later: make(map[feed.Name]struct{}),
		topics: delivery.NewTopics(),
	}
	b.started = time.Now()
	begun := make(chan struct{})
	b.begun = begun
	b.debts.init()
	b.answering.L = &b.mu
	b.ctx, b.end = context.WithCancel(context.Background())
	node := strings.ToLower(rand.Text())
	for i := range opts.Connections {
		b.lines = append(b.lines, newLine(b, fmt.Sprintf("%s%d", node, i)))
	}
	b.start(b.publishAll, b.readAll, b.askAll, b.payDebts, b.probe, b.watch)
	for _, l := range b.lines {
		b.start(l.run)
	}
	patience := time.NewTimer(opts.Timeout)
	defer patience.Stop()
	select {
	case <-begun:
	case <-patience.C:
	case <-ctx.Done():
	}
	return b, nil
}

// silence ends go-redis's own log, which is one for the process and goes to standard error: each failure of a connection
// there comes back as an error here.
var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func (b *Bus) start(loops ...func()) {
	for _, loop := range loops {
		b.running.Go(loop)
	}
}

// line is the one that carries the feed's signals.
func (b *Bus) line(name feed.Name) *line {
	return b.lines[maphash.String(b.seed, string(name))%uint64(len(b.lines))]
}

// Alive is true while every connection for signals is subscribed to all that is followed, or was within the last
// Options.LostAfter, and Redis has answered a command within that time.
func (b *Bus) Alive() bool { return b.alive.Load() }

// Close pays signals that are owed, then waits until the calls of Followers, Answerers and Listeners that are under way have ended, so it
// must not be called from within one. It takes as long as they do, and up to twice Options.Timeout when Redis doesn't
// answer.
func (b *Bus) Close() error {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	if first {
		b.closing.Store(true)
		b.debts.payEarly(b)
		b.alive.Store(false)
		b.end()
		b.mu.Lock()
		for s := range b.subs {
			s.endLocked()
		}
		b.answering.Broadcast()
		b.mu.Unlock()
		_ = b.client.Close() // ends what is under way
	}
	b.running.Wait()
	b.boxes.Wait()
	b.topics.Close()
	return nil
}

// now is a moment as an atomic can hold it, on the monotonic clock: wall clocks jump.
func (b *Bus) now() int64 { return int64(time.Since(b.started)) }

// since is the time since a moment.
func (b *Bus) since(moment int64) time.Duration { return time.Duration(b.now() - moment) }

// err is what a call gets that must not be made now.
func (b *Bus) err() error {
	switch {
	case b.closing.Load():
		return bus.ErrClosed
	case !b.reachable.Load():
		return bus.ErrUnavailable
	}
	return nil
}
