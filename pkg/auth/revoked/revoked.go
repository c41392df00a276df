// Package revoked is the list of tokens that have been taken back before they expire: one by its id, or all of a subject's that
// were made before a time.
//
//	Revoke ─▶ this node's list ─▶ the bus keeps it ─▶ broadcast ─▶ every node's list
//	a gap, and once a minute: what the bus keeps ─▶ list; what the bus has lost ─▶ back to it, and broadcast
//
// The list only grows, each entry until a time of its own, so lists are merged in any order. The bus losing its memory loses
// nothing while any node lives.
package revoked

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
)

// Most is how many entries there may be.
const Most = 200_000

// topic is also the name of the set.
const topic = "revoked"

const (
	rereadEvery = time.Minute
	callTimeout = 5 * time.Second
)

// ErrFull says that there are as many entries as there may be.
var ErrFull = fmt.Errorf("%d revocations are in force, which is the most that there may be", Most)

// Bus is what the list needs of the bus.
type Bus interface {
	bus.Broadcaster
	bus.Keeper
}

// List is one node's. It is safe for concurrent use.
type List struct {
	// static
	bus     Bus // nil: this node is alone
	log     *slog.Logger
	ctx     context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup
	deaf    func()        // ends listening
	reread  chan struct{} // holds one

	mu sync.Mutex
	// Guarded by mu.
	entries  map[Entry]time.Time // until when; the Entry's own Until is zero
	subjects map[string][]Entry  // those by subject
	changed  chan struct{}       // closed at the next addition
}

var _ auth.Revoker = (*List)(nil)

// New makes a list that listens to the bus; b may be nil. Close ends it.
func New(b Bus, log *slog.Logger) *List {
	l := &List{
		bus: b, log: log, reread: make(chan struct{}, 1),
		entries: make(map[Entry]time.Time), subjects: make(map[string][]Entry), changed: make(chan struct{}),
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.deaf = func() {}
	if b != nil {
		l.deaf = b.Listen(topic, (*ear)(l))
		l.running.Go(l.run)
	}
	return l
}

// Close ends what runs behind the scenes. Closing twice is fine.
func (l *List) Close() {
	l.end()
	l.deaf()
	l.running.Wait()
}

// Revoked tells whether the principal's token is on the list. Static keys are not revoked: whoever has the
// configuration takes them out.
func (l *List) Revoked(p *auth.Principal) bool {
	if p == nil || p.Expires.IsZero() {
		return false
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.ID != "" && l.entries[Entry{ID: p.ID}].After(now) {
		return true
	}
	for _, e := range l.subjects[p.Subject] {
		if p.Issued.Unix() < e.IssuedBefore && l.entries[e].After(now) {
			return true
		}
	}
	return false
}

// Changed is closed when more has been revoked than when it was called.
func (l *List) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Len is the number of entries, of which some may have ended.
func (l *List) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// Revoke puts entries on the lists of all nodes. With ErrUnavailable they are on this one's, which tells the others when the bus is
// back; with ErrFull some may be. With other errors they are on none.
func (l *List) Revoke(ctx context.Context, entries ...Entry) error {
	var errs []error
	for _, e := range entries {
		errs = append(errs, e.Check())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if _, full := l.add(entries); full {
		return ErrFull
	}
	if l.bus == nil {
		return nil
	}
	return l.tell(ctx, entries)
}

// tell has the bus keep entries, and the other nodes know.
func (l *List) tell(ctx context.Context, entries []Entry) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kept := make([]bus.Entry, len(entries))
	for i, e := range entries {
		kept[i] = bus.Entry{Text: e.text(), Until: e.Until}
	}
	err := l.bus.Keep(ctx, topic, kept...)
	for len(entries) > 0 {
		var message []byte
		n := 0
		for ; n < len(entries); n++ {
			line := entries[n].line()
			if len(message)+len(line) > bus.MaxBroadcast {
				break
			}
			message = append(message, line...)
		}
		err = errors.Join(err, l.bus.Broadcast(ctx, topic, message))
		entries = entries[n:]
	}
	return err
}

// add puts entries on this node's list, and gives those that it did not have, or not for as long.
func (l *List) add(entries []Entry) (added []Entry, full bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries)+len(entries) > Most {
		l.purgeLocked(now)
	}
	for _, e := range entries {
		key := e
		key.Until = time.Time{}
		before, had := l.entries[key]
		if !e.Until.After(before) || !e.Until.After(now) {
			continue
		}
		if !had {
			if len(l.entries) >= Most {
				full = true
				continue // what there is room for counts
			}
			if key.Subject != "" {
				l.subjects[key.Subject] = append(l.subjects[key.Subject], key)
			}
		}
		l.entries[key] = e.Until
		added = append(added, e)
	}
	if len(added) > 0 {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return added, full
}

// purgeLocked forgets what has ended.
func (l *List) purgeLocked(now time.Time) {
	for e, until := range l.entries {
		if until.After(now) {
			continue
		}
		delete(l.entries, e)
		if e.Subject == "" {
			continue
		}
		left := slices.DeleteFunc(l.subjects[e.Subject], func(o Entry) bool { return o == e })
		if l.subjects[e.Subject] = left; len(left) == 0 {
			delete(l.subjects, e.Subject)
		}
	}
}

// ear is the list as it listens to the bus.
type ear List

func (e *ear) Hear(message []byte) {
	l := (*List)(e)
	var entries []Entry
	for line := range strings.Lines(string(message)) {
		if entry, ok := parseLine(line); ok {
			entries = append(entries, entry)
		}
	}
	l.learn(entries)
}

func (e *ear) Gap() {
	select {
	case e.reread <- struct{}{}:
	default:
	}
}

func (l *List) learn(entries []Entry) {
	added, full := l.add(entries)
	if full {
		l.log.Error("more tokens are revoked than this node remembers; "+
			"make revocations shorter, or give the subject's instead of each token's", "most", Most)
	}
	if len(added) > 0 {
		l.log.Info("tokens were revoked", "entries", len(added))
	}
}

// run reads what the bus keeps after a gap, and from time to time.
func (l *List) run() {
	again := time.NewTicker(rereadEvery)
	defer again.Stop()
	for {
		select {
		case <-l.reread:
		case <-again.C:
		case <-l.ctx.Done():
			return
		}
		if err := l.merge(); err != nil && l.ctx.Err() == nil {
			l.log.Warn("revocations can't be read from the bus right now", "error", err)
		}
	}
}

// merge makes the bus's list and this one the same.
func (l *List) merge() error {
	ctx, cancel := context.WithTimeout(l.ctx, callTimeout)
	defer cancel()
	kept, err := l.bus.Kept(ctx, topic, Most)
	if err != nil {
		return err
	}
	entries := make([]Entry, 0, len(kept))
	known := make(map[Entry]time.Time, len(kept))
	for _, k := range kept {
		if e, ok := parseText(k.Text); ok {
			known[e] = k.Until
			e.Until = k.Until
			entries = append(entries, e)
		}
	}
	l.learn(entries)
	var lost []Entry
	l.mu.Lock()
	l.purgeLocked(time.Now())
	for e, until := range l.entries {
		if until.After(known[e]) {
			e.Until = until
			lost = append(lost, e)
		}
	}
	l.mu.Unlock()
	if len(lost) == 0 {
		return nil
	}
	l.log.Info("revocations that the bus has lost are put back", "entries", len(lost))
	return l.tell(l.ctx, lost)
}
