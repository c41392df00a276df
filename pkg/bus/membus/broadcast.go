package membus

import (
	"context"
	"slices"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

// Broadcast hands the message to everyone in this process.
func (b *Bus) Broadcast(_ context.Context, topic string, message []byte) error {
	if err := bus.CheckBroadcast(topic, message); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errLocked(); err != nil {
		return err
	}
	b.topics.Hand(topic, slices.Clone(message))
	return nil
}

// Listen has l called from now on.
func (b *Bus) Listen(topic string, l bus.Listener) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.topics.Listen(topic, l, func() bool { return !b.lost })
}

// Keep remembers entries for as long as the process lives.
func (b *Bus) Keep(_ context.Context, set string, entries ...bus.Entry) error {
	if err := bus.CheckEntries(set, entries); err != nil {
		return err
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errLocked(); err != nil {
		return err
	}
	kept := b.kept[set]
	if kept == nil {
		kept = make(map[string]time.Time)
		b.kept[set] = kept
	}
	for text, until := range kept {
		if !until.After(now) {
			delete(kept, text)
		}
	}
	for _, e := range entries {
		if until := e.Until.Truncate(time.Millisecond); until.After(kept[e.Text]) && until.After(now) {
			kept[e.Text] = until
		}
	}
	return nil
}

// Kept gives what Keep remembers.
func (b *Bus) Kept(_ context.Context, set string, most int) ([]bus.Entry, error) {
	if err := bus.CheckTopic(set); err != nil {
		return nil, err
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errLocked(); err != nil {
		return nil, err
	}
	var entries []bus.Entry
	for text, until := range b.kept[set] {
		if until.After(now) && len(entries) < most {
			entries = append(entries, bus.Entry{Text: text, Until: until})
		}
	}
	return entries, nil
}
