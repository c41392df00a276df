package redisbus

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// errOver refuses a life's second connection.
var errOver = errors.New("a connection for signals has one life")

// errSilent ends a life on which nothing comes.
var errSilent = errors.New("no sign of life")

// lifeKey is where a context carries its *life to the dialer.
type lifeKey struct{}

// life is one pub/sub connection. It begins with a dial and ends with the first error, after which nothing can be had
// from it: go-redis's PubSub reconnects and resubscribes by itself, and when that happens between two calls of Receive
// it is not even told of in an error. Then signals would be lost without anybody reading the heads again.
type life struct {
	// static
	ctx    context.Context
	end    context.CancelCauseFunc
	pubsub *redis.PubSub

	mu   sync.Mutex
	conn net.Conn
	over bool
}

func newLife(ctx context.Context, client *redis.Client) *life {
	l := &life{}
	ctx, l.end = context.WithCancelCause(ctx)
	l.ctx = context.WithValue(ctx, lifeKey{}, l)
	l.pubsub = client.Subscribe(l.ctx) // to nothing, and so without a connection yet
	return l
}

// dial is what go-redis calls to connect.
func (l *life) dial(
	ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, addr string,
) (net.Conn, error) {
	l.mu.Lock()
	over := l.over || l.conn != nil
	l.mu.Unlock()
	if over {
		return nil, errOver
	}
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, errors.Join(errOver, conn.Close())
	}
	l.conn = conn
	return conn, nil
}

// kill ends the life; whoever reads or writes gets an error at once. Only the first err counts.
func (l *life) kill(err error) {
	l.end(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.conn != nil {
		_ = l.conn.Close() // that it's gone is the point
	}
}
