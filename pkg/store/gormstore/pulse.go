package gormstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// errMute says that the database has stopped answering: it is frozen, or cut off without a word.
var errMute = errors.New("the database has stopped answering")

// betweenQuestions is the pause between two questions to a mute database.
const betweenQuestions = 100 * time.Millisecond

// pulse finds out whether a call that takes long waits for a database that works, or for one that has stopped answering. The
// former may take as long as its timeouts allow; the latter is given up soon. Nothing else would tell: a frozen database
// doesn't keep its own timeouts.
//
//	a call, for a quarter of the time ─▶ ask on a new connection (all calls share the question)
//	           ─▶ an answer, or any other call has got one ─▶ look again after another quarter
//	           ─▶ neither, within three quarters ─▶ the database is mute: calls end with errMute, new ones at once,
//	                                                and it alone goes on asking, until there is an answer
//
// So a call ends within the time, BeginTimeout, and a database that comes back finds one connection that nobody waits at any more for
// each second of its absence, and not hundreds that it has to deal with first. A nil pulse watches over nothing. It is safe
// for concurrent use.
type pulse struct {
	// static
	pool   *sql.DB // keeps no connection: one that was idle may be dead without the database being so
	within time.Duration
	ctx    context.Context // ends with close
	end    context.CancelFunc

	asking singleflight.Group
	heard  atomic.Int64 // when the database last answered anybody, in nanoseconds
	mute   atomic.Bool

	mu        sync.Mutex
	closed    bool           // guarded by mu
	listening sync.WaitGroup // added to under mu, while not closed
}

// newPulse makes a pulse; within is Options.BeginTimeout, none if that isn't positive.
func newPulse(url string, o Options) (*pulse, error) {
	if o.BeginTimeout <= 0 {
		return nil, nil //nolint:nilnil // then nothing is bounded
	}
	o.MaxConns = 1
	pool, err := openPool(url, o)
	if err != nil {
		return nil, err
	}
	pool.SetMaxIdleConns(-1)
	p := &pulse{pool: pool, within: o.BeginTimeout}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p, nil
}

// answered says that the database has just answered something.
func (p *pulse) answered() {
	if p == nil {
		return
	}
	p.heard.Store(time.Now().UnixNano())
	if p.mute.Load() {
		p.mute.Store(false)
	}
}

// watch calls end with errMute when the database stops answering before ctx ends, and fails if it has.
func (p *pulse) watch(ctx context.Context, end context.CancelCauseFunc) error {
	switch {
	case p == nil:
		return nil
	case p.mute.Load():
		return errMute
	}
	timer := time.AfterFunc(p.within/4, func() {
		for ctx.Err() == nil {
			if p.mute.Load() || !p.beats() {
				p.listen()
				end(errMute)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(p.within / 4):
			}
		}
	})
	context.AfterFunc(ctx, func() { timer.Stop() })
	return nil
}

// beats asks the database for a sign of life.
func (p *pulse) beats() bool {
	begun := time.Now()
	return p.ask() || p.heard.Load() >= begun.UnixNano()
}

// ask tells whether the database answers a question. That it says no (too many connections, say) is an answer, and so is that
// nobody listens at its address: who calls will hear the same.
func (p *pulse) ask() bool {
	// The outcome is that of all who ask together.
	answer, _, _ := p.asking.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(p.ctx, p.within-p.within/4)
		defer cancel()
		err := p.pool.PingContext(ctx)
		return err == nil || ctx.Err() == nil || p.ctx.Err() != nil, nil
	})
	yes, _ := answer.(bool)
	return yes
}

// listen has the database taken for mute until it answers.
func (p *pulse) listen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.mute.CompareAndSwap(false, true) {
		return
	}
	p.listening.Go(func() {
		for p.mute.Load() && !p.ask() {
			time.Sleep(betweenQuestions)
		}
		p.mute.Store(false)
	})
}

func (p *pulse) close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.listening.Wait()
	return p.pool.Close()
}
